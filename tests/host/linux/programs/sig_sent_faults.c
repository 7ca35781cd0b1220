/* Signals of faults that were sent: these can be blocked and ignored like any. */
#include "say.h"

static volatile int handled;
static void handler(int signal, siginfo_t *info, void *context) { handled += info->si_code == SI_USER; }

int main(void) {
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGSEGV), sigaddset(&set, SIGFPE), sigaddset(&set, SIGILL), sigaddset(&set, SIGBUS);
    pid_t child = forked();
    if (!child) {
        sigprocmask(SIG_BLOCK, &set, 0);
        kill(getpid(), SIGSEGV), kill(getpid(), SIGFPE);
        sigpending(&set);
        _exit(sigismember(&set, SIGSEGV) + 2 * sigismember(&set, SIGFPE) + 4 * sigismember(&set, SIGILL));
    }
    reap("sent while blocked", child);
    child = forked();
    if (!child) {
        signal(SIGSEGV, SIG_IGN);
        kill(getpid(), SIGSEGV);
        _exit(7);
    }
    reap("sent while ignored", child);
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, 0), sigaction(SIGBUS, &action, 0);
    kill(getpid(), SIGSEGV), kill(getpid(), SIGBUS);
    say("handled: %d", handled);
    sigprocmask(SIG_BLOCK, &set, &old);
    kill(getpid(), SIGSEGV), kill(getpid(), SIGSEGV), kill(getpid(), SIGBUS);
    say("handled: %d", handled);
    sigprocmask(SIG_SETMASK, &old, 0);
    say("handled: %d", handled);
    child = forked();
    if (!child) {
        signal(SIGSEGV, SIG_DFL);
        kill(getpid(), SIGSEGV);
        _exit(7);
    }
    reap("sent", child);
    return 0;
}
