/* Memory and fork: private pages are copied, shared ones are one. */
#include "say.h"
#include <sys/mman.h>

enum { PAGE = 4096 };

int main(void) {
    int rw = PROT_READ | PROT_WRITE, fd = open("file", O_CREAT | O_RDWR, 0644), status;
    ftruncate(fd, PAGE);
    char *private = mmap(0, 64 * PAGE, rw, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
         *shared = mmap(0, 64 * PAGE, rw, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
         *of_file = mmap(0, PAGE, rw, MAP_PRIVATE, fd, 0);
    memset(private, 1, 64 * PAGE), memset(shared, 1, 64 * PAGE), of_file[0] = 1;
    pid_t child = forked();
    if (!child) {
        int sum = private[63 * PAGE] + shared[63 * PAGE] + of_file[0];
        memset(private, 2, 64 * PAGE), memset(shared, 2, 64 * PAGE), of_file[0] = 2;
        _exit(sum);
    }
    reap("child saw three ones", child);
    say("private: %d, shared: %d, of the file: %d", private[5 * PAGE], shared[5 * PAGE], of_file[0]);

    /* The parent's writes after fork are not the child's. */
    int ends[2];
    char c;
    pipe(ends);
    child = forked();
    if (!child) {
        read(ends[0], &c, 1);
        _exit(private[0] * 10 + shared[0]);
    }
    private[0] = 7, shared[0] = 7;
    write(ends[1], "x", 1);
    reap("child sees 1 and 7", child);

    /* Written by the kernel, not by instructions: copied on that too. */
    child = forked();
    if (!child) {
        int zero = open("/dev/zero", O_RDONLY);
        _exit(read(zero, private, 64) == 64 && private[0] == 0 ? 0 : 1);
    }
    reap("child reads zeros into it", child);
    say("private: %d", private[0]);

    /* Rights and unmapping are each one's own. */
    child = forked();
    if (!child) {
        munmap(private, 64 * PAGE);
        mprotect(shared, PAGE, PROT_NONE);
        _exit(0);
    }
    waitpid(child, &status, 0);
    private[0] = 3, shared[0] = 4;
    say("mine: %d %d", private[0], shared[0]);

    tell("MADV_DONTFORK", madvise(private, PAGE, MADV_DONTFORK));
    child = forked();
    if (!child)
        _exit(write(ends[1], private, 1) == -1 && errno == EFAULT && write(ends[1], private + PAGE, 1) == 1);
    reap("child lacks that page only", child);
    tell("MADV_WIPEONFORK", madvise(private + PAGE, PAGE, MADV_WIPEONFORK));
    child = forked();
    if (!child) _exit(private[PAGE] * 10 + private[2 * PAGE]);
    reap("child has a zero and a one", child);

    /* Children of children share it too. */
    shared[100] = 0;
    child = forked();
    if (!child) {
        for (int i = 0; i < 3; i++) {
            shared[100]++;
            pid_t next = forked();
            if (next) waitpid(next, &status, 0), _exit(0);
        }
        _exit(0);
    }
    reap("child of children", child);
    say("deep: %d", shared[100]);
    return 0;
}
