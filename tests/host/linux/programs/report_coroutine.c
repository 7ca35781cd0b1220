/* Coroutines with makecontext and swapcontext, which take the signal mask along. musl has neither. */
#include "say.h"
#ifdef __GLIBC__
#include <ucontext.h>

static ucontext_t main_context, coroutines[3];
static char stacks[3][65536];
static int made[3], order[64], count;

static void body(int self, int times) {
    char here;
    made[self] = &here >= stacks[self] && &here < stacks[self] + sizeof stacks[self];
    for (int i = 0; i < times; i++) {
        order[count++] = self;
        swapcontext(&coroutines[self], &main_context);
    }
}

static int masked(int signal) {
    sigset_t set;
    sigprocmask(SIG_BLOCK, 0, &set);
    return sigismember(&set, signal);
}

static void blocks(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, 0);
    order[count++] = masked(SIGUSR1);
    swapcontext(&coroutines[0], &main_context);
    order[count++] = masked(SIGUSR1);
}

int main(void) {
    volatile int alive = 3, returned = 0;
    for (int i = 0; i < 3; i++) {
        getcontext(&coroutines[i]);
        coroutines[i].uc_stack.ss_sp = stacks[i];
        coroutines[i].uc_stack.ss_size = sizeof stacks[i];
        coroutines[i].uc_link = 0;
        makecontext(&coroutines[i], (void (*)(void))body, 2, i, 3);
    }
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 3; i++) swapcontext(&main_context, &coroutines[i]);
    for (int i = 0; i < 9; i++) order[i] += '0';
    char text[16] = "";
    for (int i = 0; i < 9; i++) text[i] = order[i];
    say("order: %s", text);
    say("on their stacks: %d %d %d", made[0], made[1], made[2]);

    count = 0;
    getcontext(&coroutines[0]);
    coroutines[0].uc_stack.ss_sp = stacks[0];
    coroutines[0].uc_stack.ss_size = sizeof stacks[0];
    coroutines[0].uc_link = &main_context; /* where it goes when it ends */
    makecontext(&coroutines[0], blocks, 0);
    swapcontext(&main_context, &coroutines[0]);
    say("blocked in the coroutine: %d, here: %d", order[0], masked(SIGUSR1));
    swapcontext(&main_context, &coroutines[0]);
    say("still blocked there: %d, here after its end: %d", order[1], masked(SIGUSR1));

    getcontext(&main_context);
    if (returned++ < 2) setcontext(&main_context);
    say("getcontext returned %d times", returned);
    return 0;
}
#else
int main(void) {
    say("skip: this libc has no makecontext");
    return 0;
}
#endif
