/* Signals of faults: which, with which code, at which address, and when there is no handler for them. */
#include "say.h"
#include <setjmp.h>
#include <sys/mman.h>

static sigjmp_buf back;
static siginfo_t last;
static void handler(int signal, siginfo_t *info, void *context) {
    last = *info;
    siglongjmp(back, 1);
}

static char *page;
static void *volatile accessed;

static void fault(int kind) {
    static volatile char sink;
    switch (kind) {
    case 0: accessed = page + 8192, sink = *(char *)accessed; break;     /* nothing there */
    case 1: accessed = page + 5, *(volatile char *)accessed = 1; break;  /* may only be read */
    case 2: accessed = page + 4096 + 9, sink = *(char *)accessed; break; /* PROT_NONE */
    case 3: accessed = (void *)16, sink = *(char *)accessed; break;
    case 4: accessed = page, ((void (*)(void))page)(); break; /* no code */
#if defined __riscv
    case 5: __asm__ volatile(".option push\n.option norvc\nunimp\n.option pop"); break;
    case 6: __asm__ volatile("ebreak"); break;
#else
    case 5: __asm__ volatile("ud2"); break;
    case 6: __asm__ volatile("int3"); break;
#endif
    }
}

int main(void) {
    static const char *kinds[] = {"unmapped", "read-only",      "no access", "near null",
                                  "no code",  "no instruction", "breakpoint"};
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, 0), sigaction(SIGILL, &action, 0), sigaction(SIGTRAP, &action, 0);
    page = mmap(0, 12288, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(page + 4096, 4096, PROT_NONE);
    munmap(page + 8192, 4096);
    for (int kind = 0; kind < 7; kind++) {
        if (!sigsetjmp(back, 1)) {
            fault(kind);
            say("%s: nothing", kinds[kind]);
        } else if (last.si_signo == SIGSEGV)
            say("%s: SIGSEGV, %s, address %s", kinds[kind],
                last.si_code == SEGV_MAPERR   ? "SEGV_MAPERR"
                : last.si_code == SEGV_ACCERR ? "SEGV_ACCERR"
                                              : "another code",
                last.si_addr == accessed ? "right" : "wrong");
        else
            say("%s: %s", kinds[kind], signal_name(last.si_signo));
    }
    /* Without handler, and with the signal blocked or ignored, a fault ends the process all the same. */
    for (int how = 0; how < 3; how++) {
        static const char *names[] = {"default", "ignored", "blocked"};
        pid_t child = forked();
        if (!child) {
            sigset_t set;
            sigemptyset(&set);
            sigaddset(&set, SIGSEGV);
            if (how == 0) signal(SIGSEGV, SIG_DFL);
            if (how == 1) signal(SIGSEGV, SIG_IGN);
            if (how == 2) sigprocmask(SIG_BLOCK, &set, 0);
            fault(0);
            _exit(0);
        }
        reap(names[how], child);
    }
    pid_t child = forked();
    if (!child) {
        signal(SIGILL, SIG_DFL);
        fault(5);
        _exit(0);
    }
    reap("no instruction", child);
    child = forked();
    if (!child) {
        signal(SIGTRAP, SIG_DFL);
        fault(6);
        _exit(0);
    }
    reap("breakpoint", child);
    return 0;
}
