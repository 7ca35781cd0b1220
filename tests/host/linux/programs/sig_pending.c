/* Blocked signals wait: some for the process, some for a thread, each kind once. */
#include "say.h"
#include <pthread.h>

static volatile int handled[65];
static void handler(int signal) { handled[signal]++; }

static void show(const char *what) {
    sigset_t set;
    sigpending(&set);
    say("%s: USR1 %d, USR2 %d, TERM %d", what, sigismember(&set, SIGUSR1), sigismember(&set, SIGUSR2),
        sigismember(&set, SIGTERM));
}

static void *thread(void *main_thread) {
    /* A new thread has its maker's mask, the process's pending signals, none of another thread. */
    sigset_t set;
    pthread_sigmask(SIG_BLOCK, 0, &set);
    say("thread blocks: %d %d", sigismember(&set, SIGUSR1), sigismember(&set, SIGUSR2));
    show("thread sees pending");
    pthread_kill(pthread_self(), SIGTERM);
    show("thread after pthread_kill");
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_UNBLOCK, &set, 0);
    say("thread handled TERM: %d", handled[SIGTERM]);
    return 0;
}

int main(void) {
    struct sigaction action = {.sa_handler = handler};
    sigset_t set, old;
    sigaction(SIGUSR1, &action, 0), sigaction(SIGUSR2, &action, 0), sigaction(SIGTERM, &action, 0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1), sigaddset(&set, SIGUSR2), sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGKILL), sigaddset(&set, SIGSTOP);
    tell("block", sigprocmask(SIG_BLOCK, &set, &old));
    say("blocked before: %d", sigismember(&old, SIGUSR1));
    sigprocmask(SIG_BLOCK, 0, &old);
    say("blocked: %d, KILL: %d, STOP: %d", sigismember(&old, SIGUSR1), sigismember(&old, SIGKILL),
        sigismember(&old, SIGSTOP));
    show("nothing yet");
    kill(getpid(), SIGUSR1), kill(getpid(), SIGUSR1), kill(getpid(), SIGUSR1); /* the process's */
    pthread_kill(pthread_self(), SIGUSR2);                                     /* this thread's */
    show("main");
    pthread_t other;
    pthread_create(&other, 0, thread, 0);
    pthread_join(other, 0);
    show("main after it");
    say("handled: %d %d", handled[SIGUSR1], handled[SIGUSR2]);
    sigdelset(&set, SIGTERM);
    sigprocmask(SIG_UNBLOCK, &set, 0);
    say("handled: %d %d", handled[SIGUSR1], handled[SIGUSR2]);
    show("all gone");

    /* Ignoring throws away what is pending; so does a default that is to ignore. */
    sigprocmask(SIG_BLOCK, &set, 0);
    raise(SIGUSR1);
    signal(SIGUSR1, SIG_IGN);
    show("ignored");
    sigaction(SIGUSR1, &action, 0);
    show("and caught again");
    /* Sent while ignored and blocked: Linux keeps it, since a handler may come before it is let in. */
    signal(SIGUSR2, SIG_IGN);
    raise(SIGUSR2);
    signal(SIGUSR2, handler);
    sigprocmask(SIG_UNBLOCK, &set, 0);
    say("handled: %d %d", handled[SIGUSR1], handled[SIGUSR2]);
    tell("unknown way", sigprocmask(77, &set, 0));
    return 0;
}
