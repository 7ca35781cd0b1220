/* A crash handler as of a language's runtime: on its own stack, says what it knows, and ends the process. */
#include "say.h"
#include <sys/mman.h>

static char stack[65536];
static char *page;

static void crashed(int signal, siginfo_t *info, void *context) {
    char here;
    say("crash: %s, code %d", signal_name(signal), info->si_code);
    say("address: %s", info->si_addr == page + 24 ? "the one accessed" : !info->si_addr ? "null" : "another");
    yes("on its own stack", &here >= stack && &here < stack + sizeof stack);
    _exit(70 + signal);
}

static long deep(long n) {
    volatile char room[4096];
    room[0] = n;
    return n > 0 ? deep(n + 1) + room[0] : 0;
}

static void overflowed(int signal, siginfo_t *info, void *context) {
    char here;
    say("overflow: %s", signal_name(signal));
    yes("on its own stack", &here >= stack && &here < stack + sizeof stack);
    _exit(5);
}

int main(void) {
    stack_t alternative = {.ss_sp = stack, .ss_size = sizeof stack};
    tell("sigaltstack", sigaltstack(&alternative, 0));
    page = mmap(0, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct sigaction action = {.sa_sigaction = crashed, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGSEGV, &action, 0);
    sigaction(SIGABRT, &action, 0);

    pid_t child = forked();
    if (!child) {
        *(volatile char *)(page + 24) = 1;
        _exit(0);
    }
    reap("write to a page that may be read", child);

    child = forked();
    if (!child) {
        munmap(page, 8192);
        _exit(*(volatile char *)(page + 24));
    }
    reap("read of a page that is gone", child);

    child = forked();
    if (!child) {
        ((void (*)(void))(page + 24))();
        _exit(0);
    }
    reap("jump into a page without code", child);

    child = forked();
    if (!child) {
        action.sa_sigaction = overflowed;
        sigaction(SIGSEGV, &action, 0);
        _exit(deep(1));
    }
    reap("endless recursion", child);

    child = forked();
    if (!child) {
        stack_t none = {.ss_flags = SS_DISABLE};
        sigaltstack(&none, 0);
        _exit(deep(1));
    }
    reap("endless recursion without another stack", child);

    child = forked();
    if (!child) {
        action.sa_handler = SIG_DFL;
        sigaction(SIGSEGV, &action, 0);
        *(volatile char *)(page + 24) = 1;
        _exit(0);
    }
    reap("with no handler", child);
    return 0;
}
