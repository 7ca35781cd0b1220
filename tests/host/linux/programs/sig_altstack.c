/* sigaltstack: which handlers run there, and what may be changed when. */
#include "say.h"
#include <sys/mman.h>
#include <ucontext.h>

static char *stack;
enum { SIZE = 65536 };

static int on_it(void) {
    char here;
    return &here >= stack && &here < stack + SIZE;
}

static void handler(int signal, siginfo_t *info, void *more) {
    stack_t now, other = {.ss_sp = stack, .ss_size = SIZE};
    ucontext_t *context = more;
    sigaltstack(0, &now);
    say("%s on it: %d, flags %d", signal_name(signal), on_it(), now.ss_flags);
    yes("context has it", context->uc_stack.ss_sp == stack && context->uc_stack.ss_size == SIZE);
    if (on_it()) tell("change of the stack that is in use", sigaltstack(&other, 0));
    if (signal == SIGUSR1) raise(SIGTERM); /* nested: continues below, not from the top */
}

int main(void) {
    struct sigaction with = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK},
                     without = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    stack = mmap(0, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stack_t set = {.ss_sp = stack, .ss_size = SIZE}, old;
    sigaction(SIGUSR1, &with, 0), sigaction(SIGTERM, &with, 0), sigaction(SIGUSR2, &without, 0);
    sigaltstack(0, &old);
    yes("disabled at first", old.ss_flags == SS_DISABLE);
    set.ss_size = 1000;
    tell("too small", sigaltstack(&set, 0));
    set.ss_size = SIZE, set.ss_flags = 77;
    tell("unknown flags", sigaltstack(&set, 0));
    set.ss_flags = 0;
    tell("set", sigaltstack(&set, 0));
    sigaltstack(0, &old);
    yes("told back", old.ss_sp == stack && old.ss_size == SIZE && old.ss_flags == 0);
    raise(SIGUSR1);
    raise(SIGUSR2);
    pid_t child = forked();
    if (!child) {
        sigaltstack(0, &old);
        _exit(old.ss_sp == stack && old.ss_size == SIZE);
    }
    reap("fork keeps it", child);

    set.ss_flags = SS_DISABLE;
    tell("disable", sigaltstack(&set, 0));
    say("-- then SA_ONSTACK means nothing");
    struct sigaction none = {.sa_handler = SIG_DFL};
    sigaltstack(0, &old);
    yes("disabled", old.ss_flags & SS_DISABLE);

    /* SS_AUTODISARM: while a handler runs there, there is none, so it may be changed. */
    set.ss_flags = 1U << 31;
    tell("SS_AUTODISARM", sigaltstack(&set, 0));
    sigaltstack(0, &old);
    yes("told back", old.ss_flags == (int)(1U << 31));
    return 0;
}
