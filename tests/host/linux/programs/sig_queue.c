/* Realtime signals queue, in order, with their values; standard ones do not. */
#include "say.h"
#include <sys/resource.h>

static char order[128];
static void handler(int signal, siginfo_t *info, void *context) {
    char one[16];
    if (signal >= SIGRTMIN)
        snprintf(one, sizeof one, "%c%d ", 'A' + signal - SIGRTMIN, info->si_value.sival_int);
    else
        snprintf(one, sizeof one, "%s ", signal_name(signal));
    strcat(order, one);
}

int main(void) {
    yes("there are at least 8", SIGRTMAX - SIGRTMIN >= 8);
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigset_t set, old;
    sigemptyset(&set);
    for (int i = 0; i < 3; i++) sigaction(SIGRTMIN + i, &action, 0), sigaddset(&set, SIGRTMIN + i);
    sigaction(SIGUSR1, &action, 0), sigaction(SIGUSR2, &action, 0);
    sigaddset(&set, SIGUSR1), sigaddset(&set, SIGUSR2);
    sigfillset(&action.sa_mask);
    for (int i = 0; i < 3; i++) sigaction(SIGRTMIN + i, &action, 0);
    sigaction(SIGUSR1, &action, 0), sigaction(SIGUSR2, &action, 0);

    sigprocmask(SIG_BLOCK, &set, &old);
    for (int i = 0; i < 3; i++) {
        union sigval value = {.sival_int = i};
        sigqueue(getpid(), SIGRTMIN + 2 - i, value);
        sigqueue(getpid(), SIGRTMIN + 1, value);
        kill(getpid(), SIGUSR2), kill(getpid(), SIGUSR1);
    }
    /* All that is pending comes before the process goes on: the lowest number first, as each handler's mask
     * keeps the others off. */
    sigprocmask(SIG_SETMASK, &old, 0);
    say("order: %s", order);

    /* Taken one by one. */
    sigprocmask(SIG_BLOCK, &set, 0);
    union sigval value;
    for (int i = 0; i < 20; i++) value.sival_int = i, sigqueue(getpid(), SIGRTMIN, value);
    int in_order = 0;
    siginfo_t info;
    struct timespec none = {0, 0};
    for (int i = 0; sigtimedwait(&set, &info, &none) > 0; i++) in_order += info.si_value.sival_int == i;
    say("in order: %d", in_order);

    /* fork's child has none of them, execve keeps them. */
    sigqueue(getpid(), SIGRTMIN, value);
    pid_t child = forked();
    if (!child) _exit(sigtimedwait(&set, &info, &none) > 0);
    reap("child", child);

    /* The queue has a limit. Realtime signals over it are refused, standard ones by kill never. */
    struct rlimit limit;
    tell("RLIMIT_SIGPENDING", getrlimit(RLIMIT_SIGPENDING, &limit));
    limit.rlim_cur = 0;
    tell("none more", setrlimit(RLIMIT_SIGPENDING, &limit));
    tell("sigqueue", sigqueue(getpid(), SIGRTMIN + 1, value));
    tell("kill", kill(getpid(), SIGUSR1));
    yes("SIGUSR1 is there", sigtimedwait(&set, &info, &none) == SIGUSR1);
    return 0;
}
