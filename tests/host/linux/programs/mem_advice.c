/* madvise, mincore, mlock, brk, and memory without a file's name. */
#include "say.h"
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

enum { PAGE = 4096 };

int main(void) {
    unsigned char in[8] = {0};
    int rw = PROT_READ | PROT_WRITE;
    char *p = mmap(0, 8 * PAGE, rw, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(p, 1, 4 * PAGE);
    tell("mincore", mincore(p, 8 * PAGE, in));
    say("touched pages are in: %d", (in[0] & 1) + (in[1] & 1) + (in[2] & 1) + (in[3] & 1));
    tell("mincore, not aligned", mincore(p + 1, PAGE, in));
    tell("MADV_DONTNEED", madvise(p, 2 * PAGE, MADV_DONTNEED));
    say("zero again: %d, kept: %d", p[0], p[2 * PAGE]);
    int fd = open("file", O_CREAT | O_RDWR, 0644);
    write(fd, "file", 4);
    char *f = mmap(0, PAGE, rw, MAP_PRIVATE, fd, 0);
    f[0] = 'X';
    madvise(f, PAGE, MADV_DONTNEED);
    say("of a file: its content again: %.4s", f);
    tell("MADV_SEQUENTIAL", madvise(p, 8 * PAGE, MADV_SEQUENTIAL));
    tell("MADV_WILLNEED", madvise(p, 8 * PAGE, MADV_WILLNEED));
    tell("MADV_FREE", madvise(p + 2 * PAGE, PAGE, MADV_FREE));
    yes("as it was, or zero", p[2 * PAGE] == 1 || p[2 * PAGE] == 0);
    p[2 * PAGE] = 5;
    say("written after it: %d", p[2 * PAGE]);
    tell("unknown advice", madvise(p, PAGE, 999));
    tell("not aligned", madvise(p + 1, PAGE, MADV_NORMAL));
    munmap(p + 4 * PAGE, PAGE);
    tell("madvise with a hole", madvise(p, 8 * PAGE, MADV_NORMAL));
    tell("mincore with a hole", mincore(p, 8 * PAGE, in));
    tell("mlock", mlock(p, PAGE));
    tell("munlock", munlock(p, PAGE));
    tell("mlock of nothing", mlock(p + 4 * PAGE, PAGE));

    /* The heap's end, by the call itself: musl has no sbrk. */
    char *end = (char *)((syscall(SYS_brk, 0) + PAGE - 1) & -PAGE);
    syscall(SYS_brk, end);
    yes("brk, up", syscall(SYS_brk, end + 3 * PAGE) == (long)end + 3 * PAGE);
    end[0] = end[3 * PAGE - 1] = 6;
    say("new: %d", end[PAGE]);
    yes("and down", syscall(SYS_brk, end) == (long)end);
    syscall(SYS_brk, end + PAGE);
    say("new again: %d", end[0]);
    yes("refused: it tells where it is", syscall(SYS_brk, 16) == (long)end + PAGE);

    int memory = memfd_create("a name", MFD_CLOEXEC);
    yes("memfd_create", memory >= 0);
    if (memory >= 0) {
        ftruncate(memory, 2 * PAGE);
        char *m = mmap(0, 2 * PAGE, rw, MAP_SHARED, memory, 0);
        strcpy(m + PAGE, "in memory");
        char text[16] = "";
        pread(memory, text, 9, PAGE);
        say("read: %s", text);
        pid_t child = forked();
        if (!child) {
            m[PAGE] = 'I';
            _exit(0);
        }
        reap("child", child);
        say("written by the child: %s", m + PAGE);
    }
    tell("unknown flag", memfd_create("x", 0x4000));

    /* Memory has a limit where one is set. */
    pid_t child = forked();
    if (!child) {
        setrlimit(RLIMIT_AS, &(struct rlimit){64 << 20, 64 << 20});
        void *big = mmap(0, 512 << 20, rw, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        void *volatile block = malloc(512 << 20); /* compilers leave out one that nobody looks at */
        _exit(big == MAP_FAILED && errno == ENOMEM && !block ? 0 : 1);
    }
    reap("RLIMIT_AS", child);
    return 0;
}
