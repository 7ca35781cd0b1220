/* Taking signals without a handler: sigwait, sigwaitinfo, sigtimedwait; and sigsuspend and pause. */
#include "say.h"
#include <sys/syscall.h>

static volatile int handled;
static void handler(int signal) { handled = signal; }

int main(void) {
    sigset_t set, empty;
    siginfo_t info;
    int signal;
    struct timespec none = {0, 0}, short_time = {0, 20000000}, wrong = {0, 1000000000};
    sigemptyset(&set), sigemptyset(&empty);
    sigaddset(&set, SIGUSR1), sigaddset(&set, SIGUSR2), sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, 0);

    tell("nothing there", sigtimedwait(&set, &info, &none));
    int64_t start = now_ns(CLOCK_MONOTONIC);
    tell("nothing comes", sigtimedwait(&set, &info, &short_time));
    yes("it waited", now_ns(CLOCK_MONOTONIC) - start >= 20000000);
    tell("wrong time", sigtimedwait(&set, &info, &wrong));
    raise(SIGUSR2);
    yes("it is there", sigtimedwait(&set, &info, &none) == SIGUSR2);
    tell("and taken", sigtimedwait(&set, &info, &none));

    kill(getpid(), SIGUSR1);
    code("sigwait", sigwait(&set, &signal));
    say("got: %s", signal_name(signal));

    pid_t child = forked();
    if (!child) {
        sleep_ms(8);
        union sigval value = {.sival_int = 99};
        sigqueue(getppid(), SIGRTMIN, value);
        _exit(0);
    }
    signal = sigwaitinfo(&set, &info);
    say("got: %s, value %d, from the child: %s", signal_name(signal), info.si_value.sival_int,
        info.si_pid == child ? "yes" : "no");
    reap("child", child);

    /* Among several, the lowest number; realtime ones after the standard ones. */
    union sigval value = {0};
    sigqueue(getpid(), SIGRTMIN, value), kill(getpid(), SIGUSR2), kill(getpid(), SIGUSR1);
    for (int i = 0; i < 3; i++) say("got: %s", signal_name(sigwaitinfo(&set, 0)));

    /* Another signal's handler interrupts the wait. */
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigaction(SIGTERM, &action, 0);
    child = forked();
    if (!child) {
        sleep_ms(8);
        kill(getppid(), SIGTERM);
        _exit(0);
    }
    /* The system call itself: musl starts it again. */
    tell("interrupted", syscall(SYS_rt_sigtimedwait, &set, &info, 0, 8));
    say("by %s", signal_name(handled));
    reap("child", child);

    /* sigsuspend lets in what its mask allows, and puts the mask back. */
    sigaction(SIGUSR1, &action, 0);
    handled = 0;
    raise(SIGUSR1);
    say("blocked: %d", handled);
    tell("sigsuspend", sigsuspend(&empty));
    say("by %s", signal_name(handled));
    sigprocmask(SIG_BLOCK, 0, &empty);
    yes("blocked again", sigismember(&empty, SIGUSR1));

    /* Ignored signals can be waited for, when blocked, if they were not ignored at the time. */
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, 0);
    child = forked();
    if (!child) _exit(0);
    sigemptyset(&set), sigaddset(&set, SIGCHLD);
    yes("SIGCHLD", sigwaitinfo(&set, &info) == SIGCHLD && info.si_pid == child && info.si_code == CLD_EXITED);
    reap("child", child);
    return 0;
}
