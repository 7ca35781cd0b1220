/* SIGCHLD: who sent it, what it tells, and children that nobody has to wait for. */
#include "say.h"
#include <sys/wait.h>

static volatile int count, last_code, last_status, last_pid;
static void on_child(int signal, siginfo_t *info, void *context) {
    count++, last_code = info->si_code, last_status = info->si_status, last_pid = info->si_pid;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = on_child, .sa_flags = SA_SIGINFO};
    sigset_t set, before;
    sigaction(SIGCHLD, &action, 0);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, &before);
    pid_t child = forked();
    if (!child) _exit(9);
    while (!count) sigsuspend(&before);
    yes("exited", last_code == CLD_EXITED && last_status == 9 && last_pid == child);
    reap("child", child);

    count = 0;
    child = forked();
    if (!child) kill(getpid(), SIGUSR1), _exit(0);
    while (!count) sigsuspend(&before);
    yes("killed", last_code == CLD_KILLED && last_status == SIGUSR1 && last_pid == child);
    reap("child", child);

    /* Standard signals do not queue: two ends, blocked, are one SIGCHLD. */
    count = 0;
    pid_t two[2];
    for (int i = 0; i < 2; i++)
        if (!(two[i] = forked())) _exit(0);
    siginfo_t info;
    for (int i = 0; i < 2; i++) waitid(P_PID, two[i], &info, WEXITED | WNOWAIT);
    sigprocmask(SIG_SETMASK, &before, 0);
    say("SIGCHLD for two: %d", count);
    for (int i = 0; i < 2; i++) reap("one of two", two[i]);

    /* Ignored on purpose: children leave no zombies, and wait has to wait for all of them to find none. */
    signal(SIGCHLD, SIG_IGN);
    child = forked();
    if (!child) sleep_ms(10), _exit(1);
    tell("wait for what leaves no zombie", waitpid(child, 0, 0));
    tell("it is gone", kill(child, 0));

    action.sa_flags = SA_SIGINFO | SA_NOCLDWAIT;
    sigaction(SIGCHLD, &action, 0);
    count = 0;
    child = forked();
    if (!child) _exit(1);
    pid_t got;
    while ((got = waitpid(child, 0, 0)) == -1 && errno == EINTR) {}
    yes("SA_NOCLDWAIT: no zombie", got == -1 && errno == ECHILD);
    say("but SIGCHLD: %d", count);

    /* By default it is ignored too, but zombies stay. */
    signal(SIGCHLD, SIG_DFL);
    child = forked();
    if (!child) _exit(2);
    sleep_ms(5);
    tell("zombie", kill(child, 0));
    reap("default", child);
    return 0;
}
