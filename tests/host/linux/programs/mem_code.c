/* Code that a program writes: run only with the right to, and never an old one after it was told. */
#include "say.h"
#include <setjmp.h>
#include <sys/mman.h>

#if defined __riscv
static const unsigned char returns_1[] = {0x05, 0x45, 0x82, 0x80}, returns_2[] = {0x09, 0x45, 0x82, 0x80};
#else
static const unsigned char returns_1[] = {0xb8, 1, 0, 0, 0, 0xc3}, returns_2[] = {0xb8, 2, 0, 0, 0, 0xc3};
#endif

static sigjmp_buf back;
static void handler(int signal, siginfo_t *info, void *context) { siglongjmp(back, info->si_code); }

static void put(void *at, const unsigned char *code) {
    memcpy(at, code, sizeof returns_1);
    __builtin___clear_cache(at, (char *)at + sizeof returns_1);
}

static void run(const char *what, void *at) {
    int code = sigsetjmp(back, 1);
    if (!code)
        say("%s: %d", what, ((int (*)(void))at)());
    else
        say("%s: %s", what,
            code == SEGV_ACCERR   ? "SEGV_ACCERR"
            : code == SEGV_MAPERR ? "SEGV_MAPERR"
                                  : "another code");
}

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, 0);
    int rw = PROT_READ | PROT_WRITE, rx = PROT_READ | PROT_EXEC;
    char *p = mmap(0, 4096, rw, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    put(p, returns_1);
    run("may only be written", p);
    tell("mprotect", mprotect(p, 4096, rx));
    run("may be run", p);
    mprotect(p, 4096, rw);
    run("may be written again", p);
    put(p, returns_2);
    mprotect(p, 4096, rx);
    run("new code", p);
    char *at = mmap(0, 4096, rw | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    put(at, returns_1);
    run("all rights", at);
    put(at, returns_2);
    run("written over", at);
    int wrong = 0;
    for (int i = 0; i < 50; i++) {
        put(at, i & 1 ? returns_1 : returns_2);
        wrong += ((int (*)(void))at)() != (i & 1 ? 1 : 2);
    }
    say("fifty times, wrong: %d", wrong);
    munmap(p, 4096);
    run("unmapped", p);
    p = mmap(p, 4096, rw, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    put(p, returns_1);
    mprotect(p, 4096, rx);
    run("another page in its place", p);

    /* Two views of a file: one to write, one to run. */
    int fd = open("code", O_CREAT | O_RDWR, 0755);
    ftruncate(fd, 4096);
    char *w = mmap(0, 4096, rw, MAP_SHARED, fd, 0), *x = mmap(0, 4096, rx, MAP_SHARED, fd, 0);
    put(w, returns_1);
    __builtin___clear_cache(x, x + 16);
    run("from a file", x);
    put(w, returns_2);
    __builtin___clear_cache(x, x + 16);
    run("changed beside it", x);
    pid_t child = forked();
    if (!child) {
        put(at, returns_1);
        _exit(((int (*)(void))at)());
    }
    reap("child's own code", child);
    run("mine", at);
    return 0;
}
