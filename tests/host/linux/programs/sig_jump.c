/* Leaving a handler by siglongjmp: the mask comes back when it was saved, and only then. */
#include "say.h"
#include <setjmp.h>

static sigjmp_buf with, without;
static volatile int mode, depth;
static int blocked(int signal) {
    sigset_t set;
    sigprocmask(SIG_BLOCK, 0, &set);
    return sigismember(&set, signal);
}

static void handler(int signal) {
    depth++;
    if (depth < 3 && mode == 2) raise(SIGUSR2); /* two handlers deep, out of both at once */
    if (mode == 1) siglongjmp(without, 5);
    siglongjmp(with, 7);
}

int main(void) {
    signal(SIGUSR1, handler), signal(SIGUSR2, handler);
    volatile int rounds = 0;
    int value = sigsetjmp(with, 1);
    say("sigsetjmp: %d", value);
    if (!value) raise(SIGUSR1);
    say("blocked: %d", blocked(SIGUSR1));
    /* As often as one likes. */
    sigsetjmp(with, 1);
    if (++rounds < 500) raise(SIGUSR1);
    say("rounds: %d, handlers: %d", rounds, depth);

    mode = 1;
    value = sigsetjmp(without, 0);
    say("without the mask: %d", value);
    if (!value) raise(SIGUSR1);
    say("blocked: %d", blocked(SIGUSR1));
    sigset_t set;
    sigemptyset(&set);
    sigprocmask(SIG_SETMASK, &set, 0);

    mode = 2, depth = 0;
    value = sigsetjmp(with, 1);
    if (!value) raise(SIGUSR1);
    say("out of two: %d, handlers: %d, blocked: %d %d", value, depth, blocked(SIGUSR1), blocked(SIGUSR2));
    value = sigsetjmp(with, 1);
    if (!value) siglongjmp(with, 0); /* 0 would be endless: it is 1 */
    say("jump with 0: %d", value);
    say("done");
    return 0;
}
