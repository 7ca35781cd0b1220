/* What handlers run with: masks, SA_NODEFER, SA_RESETHAND, nesting, and what sigaction refuses. */
#include "say.h"

static volatile int depth, deepest, count;
static int blocked(int signal) {
    sigset_t set;
    sigprocmask(SIG_BLOCK, 0, &set);
    return sigismember(&set, signal);
}

static void recursive(int signal) {
    if (++depth > deepest) deepest = depth;
    count++;
    if (count < 3) raise(signal);
    depth--;
}

static void masks(int signal) {
    say("in the handler: USR1 %d, USR2 %d, TERM %d", blocked(SIGUSR1), blocked(SIGUSR2), blocked(SIGTERM));
}

static void run(const char *what, int flags) {
    struct sigaction action = {.sa_handler = recursive, .sa_flags = flags};
    sigaction(SIGUSR1, &action, 0);
    deepest = depth = count = 0;
    raise(SIGUSR1);
    say("%s: ran %d times, %d deep", what, count, deepest);
}

static char order[16];
static void first(int signal) {
    strcat(order, "(");
    raise(SIGUSR2);
    strcat(order, ")");
}
static void second(int signal) { strcat(order, "2"); }

int main(void) {
    run("deferred", 0);
    run("SA_NODEFER", SA_NODEFER);

    struct sigaction action = {.sa_handler = masks}, old;
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGTERM);
    sigaction(SIGUSR1, &action, 0);
    raise(SIGUSR1);
    say("after it: USR1 %d, TERM %d", blocked(SIGUSR1), blocked(SIGTERM));
    action.sa_flags = SA_NODEFER;
    sigaction(SIGUSR1, &action, &old);
    yes("old handler is told", old.sa_handler == masks && sigismember(&old.sa_mask, SIGTERM) &&
                                   !(old.sa_flags & (SA_NODEFER | SA_SIGINFO)));
    raise(SIGUSR1);

    action.sa_flags = SA_RESETHAND;
    sigaction(SIGUSR1, &action, 0);
    raise(SIGUSR1);
    sigaction(SIGUSR1, 0, &old);
    yes("SA_RESETHAND: default again", old.sa_handler == SIG_DFL);
    pid_t child = forked();
    if (!child) {
        sigaction(SIGUSR1, &action, 0);
        raise(SIGUSR1), raise(SIGUSR1);
        _exit(0);
    }
    reap("the second one", child);

    /* One within another, unless its mask keeps that off. */
    struct sigaction a = {.sa_handler = first}, b = {.sa_handler = second};
    sigaction(SIGUSR1, &a, 0), sigaction(SIGUSR2, &b, 0);
    raise(SIGUSR1);
    say("nested: %s", order);
    *order = 0;
    sigaddset(&a.sa_mask, SIGUSR2);
    sigaction(SIGUSR1, &a, 0);
    raise(SIGUSR1);
    say("masked: %s", order);

    tell("SIGKILL", sigaction(SIGKILL, &a, 0));
    tell("SIGSTOP", sigaction(SIGSTOP, &a, 0));
    tell("signal 0", sigaction(0, &a, 0));
    tell("signal 65", sigaction(65, &a, 0));
    tell("asking about SIGKILL", sigaction(SIGKILL, 0, &old));
    tell("kill with signal 65", kill(getpid(), 65));
    tell("kill with signal 0", kill(getpid(), 0));
    tell("kill of nobody", kill(99999999, SIGTERM));
    return 0;
}
