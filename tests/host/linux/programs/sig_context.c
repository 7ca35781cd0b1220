/* A handler may change what its thread goes on with: the mask, registers, the place. */
#include "say.h"
#include <ucontext.h>

extern long
wait_for(volatile long *flag); /* spins until flag; returns what is in the first argument's register */
extern char skip_here[], skip_to[];
extern long skipping(void);
#if defined __riscv
__asm__(".text\n.globl skipping, skip_here, skip_to\n.option push\n.option norvc\n"
        "skipping: li a0, 5\nskip_here: unimp\nskip_to: addi a0, a0, 1\nret\n.option pop\n");
#else
__asm__(".text\n.globl skipping, skip_here, skip_to\n"
        "skipping: mov $5, %eax\nskip_here: ud2\nskip_to: add $1, %rax\nret\n");
#endif

static volatile int handled, mode;

static void ill(int signal, siginfo_t *info, void *more) {
    ucontext_t *context = more;
    handled++;
    if (PC(context) == (long)skip_here) PC(context) = (long)skip_to;
#if defined __riscv
    if (mode) ARGUMENT0(context) = 100; /* a0 is what the function returns */
#else
    if (mode) context->uc_mcontext.gregs[13] = 100; /* rax */
#endif
}

static void mask(int signal, siginfo_t *info, void *more) {
    ucontext_t *context = more;
    handled++;
    if (mode)
        sigaddset(&context->uc_sigmask, SIGTERM);
    else
        sigdelset(&context->uc_sigmask, SIGTERM);
}

static int blocked(int signal) {
    sigset_t set;
    sigprocmask(SIG_BLOCK, 0, &set);
    return sigismember(&set, signal);
}

static volatile double sum;
static void floats(int signal) {
    /* What a handler computes spoils nothing of the one interrupted. */
    double x = 1.5;
    for (int i = 0; i < 20; i++) x = x * 1.25 + i;
    sum = x;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = ill, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &action, 0);
    tell("instruction skipped", skipping());
    mode = 1;
    tell("and a register changed", skipping());
    say("handled: %d", handled);
    long total = 0;
    for (int i = 0; i < 2000; i++) total += skipping();
    say("two thousand times: %ld", total);

    action.sa_sigaction = mask;
    sigaction(SIGUSR1, &action, 0);
    raise(SIGUSR1);
    say("blocked by the handler for later: %d", blocked(SIGTERM));
    mode = 0;
    raise(SIGUSR1);
    say("unblocked: %d", blocked(SIGTERM));

    /* sigprocmask in a handler is undone at its end. */
    signal(SIGUSR2, floats);
    double a = 1, b = 2, c = 3;
    for (int i = 0; i < 50; i++) {
        a = a * 0.5 + b, b = b * 0.5 + c, c = c * 0.5 + 1;
        raise(SIGUSR2);
    }
    say("floating point is kept: %s", a > 7.99 && a < 8.01 && c > 1.99 && c < 2.01 ? "yes" : "no");
    return 0;
}
