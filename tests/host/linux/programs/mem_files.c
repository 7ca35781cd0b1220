/* Files in memory: shared, private, and what is behind their end. */
#include "say.h"
#include <setjmp.h>
#include <sys/mman.h>

enum { PAGE = 4096 };
static sigjmp_buf back;
static volatile int number, code_of, right;
static char *volatile accessed;
static void handler(int signal, siginfo_t *info, void *context) {
    number = signal, code_of = info->si_code, right = info->si_addr == accessed;
    siglongjmp(back, 1);
}

static void touch(const char *what, char *at, int write_it) {
    accessed = at;
    if (!sigsetjmp(back, 1)) {
        if (write_it) *(volatile char *)at = 'w';
        char c = *(volatile char *)at;
        say("%s: %d", what, c);
    } else
        say("%s: %s, %s, address %s", what, signal_name(number),
            number == SIGBUS         ? code_of == BUS_ADRERR ? "BUS_ADRERR" : "another code"
            : code_of == SEGV_MAPERR ? "SEGV_MAPERR"
            : code_of == SEGV_ACCERR ? "SEGV_ACCERR"
                                     : "another code",
            right ? "right" : "wrong");
}

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, 0), sigaction(SIGBUS, &action, 0);
    char text[16] = "";
    int rw = PROT_READ | PROT_WRITE, fd = open("file", O_CREAT | O_RDWR, 0644);
    write(fd, "0123456789", 10);
    char *shared = mmap(0, 3 * PAGE, rw, MAP_SHARED, fd, 0), *private = mmap(0, PAGE, rw, MAP_PRIVATE, fd, 0);
    say("shared: %.10s, private: %.10s", shared, private);
    shared[0] = 'S';
    pread(fd, text, 3, 0);
    say("file has what shared wrote: %.3s", text);
    private[1] = 'P';
    pread(fd, text, 3, 0);
    say("but not what private wrote: %.3s, shared: %.3s, private: %.1s", text, shared, private + 1);
    pwrite(fd, "W", 1, 2);
    say("what is written to the file: shared %c", shared[2]);
    say("behind the end, same page: %d", shared[10]);
    touch("page behind the end", shared + PAGE, 0);
    touch("written there", shared + 2 * PAGE + 5, 1);
    ftruncate(fd, PAGE + 10);
    touch("once the file is longer", shared + PAGE, 1);
    pread(fd, text, 1, PAGE);
    say("file: %c", text[0]);
    ftruncate(fd, 5);
    touch("once it is shorter", shared + PAGE, 0);
    ftruncate(fd, PAGE);
    say("what was cut: %d, what was not: %c", shared[7], shared[4]);
    tell("read into a page behind the end", pread(fd, shared + PAGE, 1, 0));
    tell("write from one", write(fd, shared + PAGE, 1));

    /* The file's name and descriptor may go. */
    close(fd);
    unlink("file");
    shared[3] = 'X';
    say("still there: %c", shared[3]);

    int reader = open("other", O_CREAT | O_RDONLY, 0644), writer = open("other", O_WRONLY);
    write(writer, "abc", 3);
    tell("shared for writing of a reader", mmap(0, PAGE, rw, MAP_SHARED, reader, 0) == MAP_FAILED ? -1 : 0);
    tell("private for writing of a reader", mmap(0, PAGE, rw, MAP_PRIVATE, reader, 0) == MAP_FAILED ? -1 : 0);
    tell("of a writer", mmap(0, PAGE, PROT_READ, MAP_SHARED, writer, 0) == MAP_FAILED ? -1 : 0);
    char *r = mmap(0, PAGE, PROT_READ, MAP_SHARED, reader, 0);
    tell("made writable", mprotect(r, PAGE, rw));
    touch("written", r, 1);
    int ends[2];
    pipe(ends);
    tell("of a pipe", mmap(0, PAGE, PROT_READ, MAP_SHARED, ends[0], 0) == MAP_FAILED ? -1 : 0);
    tell("of a folder", mmap(0, PAGE, PROT_READ, MAP_SHARED, open(".", O_RDONLY), 0) == MAP_FAILED ? -1 : 0);

    /* From another place of the file. */
    int both = open("other", O_RDWR);
    pwrite(both, "deep", 4, 5 * PAGE + 7);
    char *deep = mmap(0, PAGE, rw, MAP_SHARED, both, 5 * PAGE);
    say("at an offset: %.4s", deep + 7);
    char *again = mmap(0, PAGE, PROT_READ, MAP_SHARED, both, 5 * PAGE);
    deep[7] = 'D';
    say("mapped twice: %.4s", again + 7);
    tell("msync", msync(deep, PAGE, MS_SYNC));
    tell("msync, both ways", msync(deep, PAGE, MS_SYNC | MS_ASYNC));
    tell("msync, not aligned", msync(deep + 1, PAGE, MS_SYNC));
    munmap(again, PAGE);
    tell("msync of nothing", msync(again, PAGE, MS_SYNC));

    /* Another process sees it, also one that maps the file itself. */
    pid_t child = forked();
    if (!child) {
        char *mine = mmap(0, PAGE, rw, MAP_SHARED, open("other", O_RDWR), 5 * PAGE);
        int ok = mine[7] == 'D';
        mine[8] = 'E', deep[9] = 'P';
        _exit(ok ? 3 : 4);
    }
    reap("child", child);
    say("child wrote: %.4s", deep + 7);
    return 0;
}
