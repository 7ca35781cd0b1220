/* What siginfo tells of signals that were sent: by whom, how, and with which value. */
#include "say.h"
#include <pthread.h>
#include <sys/syscall.h>

static siginfo_t last;
static volatile int count;
static void handler(int signal, siginfo_t *info, void *context) {
    last = *info;
    count++;
}

static void show(const char *what, pid_t sender) {
    const char *how = last.si_code == SI_USER     ? "SI_USER"
                      : last.si_code == SI_TKILL  ? "SI_TKILL"
                      : last.si_code == SI_QUEUE  ? "SI_QUEUE"
                      : last.si_code == SI_TIMER  ? "SI_TIMER"
                      : last.si_code == SI_KERNEL ? "SI_KERNEL"
                                                  : "another code";
    say("%s: %s, %s, errno %d, from %s, value %d", what, signal_name(last.si_signo), how, last.si_errno,
        last.si_pid == sender ? "the right one" : "another",
        last.si_code == SI_QUEUE ? last.si_value.sival_int : 0);
    yes("the right user", last.si_uid == getuid());
    memset(&last, 0, sizeof last);
}

static void *thread(void *other) {
    pthread_kill(*(pthread_t *)other, SIGUSR1);
    return 0;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    union sigval value = {.sival_int = 4711};
    sigaction(SIGUSR1, &action, 0), sigaction(SIGRTMIN, &action, 0);
    pid_t me = getpid();
    kill(me, SIGUSR1);
    show("kill", me);
    raise(SIGUSR1);
    show("raise", me);
    syscall(SYS_tgkill, me, syscall(SYS_gettid), SIGUSR1);
    show("tgkill", me);
    syscall(SYS_tkill, syscall(SYS_gettid), SIGUSR1);
    show("tkill", me);
    tell("sigqueue", sigqueue(me, SIGUSR1, value));
    show("sigqueue", me);
    value.sival_int = -5;
    sigqueue(me, SIGRTMIN, value);
    show("sigqueue", me);

    pid_t child = forked();
    if (!child) {
        kill(getppid(), SIGUSR1);
        _exit(0);
    }
    reap("child", child);
    show("kill by a child", child);
    child = forked();
    if (!child) {
        sigqueue(getppid(), SIGRTMIN, value);
        _exit(0);
    }
    reap("child", child);
    show("sigqueue by a child", child);

    pthread_t other, self = pthread_self();
    pthread_create(&other, 0, thread, &self);
    pthread_join(other, 0);
    show("pthread_kill", me);

    /* Raw: a process may put what it likes into signals for itself, to others only negative codes. */
    siginfo_t info = {.si_signo = SIGUSR1, .si_code = -77};
    info.si_pid = 123;
    tell("rt_sigqueueinfo", syscall(SYS_rt_sigqueueinfo, me, SIGUSR1, &info));
    say("own code: %d, own pid: %d", last.si_code, last.si_pid);
    child = forked();
    if (!child) {
        info.si_code = 0;
        tell("an SI_USER to another", syscall(SYS_rt_sigqueueinfo, getppid(), SIGUSR1, &info));
        _exit(0);
    }
    reap("child", child);
    tell("tgkill of another's thread", syscall(SYS_tgkill, me, 99999999, SIGUSR1));
    tell("tgkill of thread 0", syscall(SYS_tgkill, me, 0, SIGUSR1));
    say("signals: %d", count);
    return 0;
}
