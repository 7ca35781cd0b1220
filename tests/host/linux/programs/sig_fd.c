/* signalfd: reading signals from a descriptor. */
#include "say.h"
#include <poll.h>
#include <sys/signalfd.h>

int main(void) {
    sigset_t set;
    struct signalfd_siginfo info[4];
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1), sigaddset(&set, SIGUSR2), sigaddset(&set, SIGCHLD), sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, 0);
    tell("unknown flag", signalfd(-1, &set, 0x7));
    tell("not a signalfd", signalfd(1, &set, 0));
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0) return tell("signalfd", fd), 1;
    say("close on exec: %d", fcntl(fd, F_GETFD));
    struct pollfd readable = {fd, POLLIN};
    tell("poll", poll(&readable, 1, 0));
    tell("read of none", read(fd, info, sizeof info));
    kill(getpid(), SIGUSR2);
    tell("poll", poll(&readable, 1, 0));
    tell("too small", read(fd, info, 100));
    yes("read", read(fd, info, sizeof info) == sizeof *info);
    say("%s, SI_USER: %s, from me: %s", signal_name(info[0].ssi_signo),
        info[0].ssi_code == SI_USER ? "yes" : "no", info[0].ssi_pid == getpid() ? "yes" : "no");
    sigset_t pending;
    sigpending(&pending);
    yes("still pending", sigismember(&pending, SIGUSR2));
    union sigval value = {.sival_int = 31};
    sigqueue(getpid(), SIGRTMIN, value), sigqueue(getpid(), SIGRTMIN, value), kill(getpid(), SIGUSR1);
    long size = read(fd, info, sizeof info);
    say("several: %ld", size / (long)sizeof *info);
    for (int i = 0; i < size / (long)sizeof *info; i++)
        say("%s, value %d", signal_name(info[i].ssi_signo), info[i].ssi_int);

    /* Waiting in a read for a child's end. */
    fcntl(fd, F_SETFL, 0);
    pid_t child = forked();
    if (!child) sleep_ms(8), _exit(17);
    yes("read", read(fd, info, sizeof *info) == sizeof *info);
    say("%s, status %d, from the child: %s", signal_name(info[0].ssi_signo), info[0].ssi_status,
        info[0].ssi_pid == child ? "yes" : "no");
    reap("child", child);

    /* Changing the set of one that is there. */
    sigemptyset(&set), sigaddset(&set, SIGUSR1);
    yes("changed", signalfd(fd, &set, 0) == fd);
    kill(getpid(), SIGUSR2);
    tell("poll for what is not in it", poll(&readable, 1, 0));
    kill(getpid(), SIGUSR1);
    tell("poll for what is", poll(&readable, 1, 0));
    yes("read", read(fd, info, sizeof info) == sizeof *info);
    /* A reader in another process takes its own signals. */
    child = forked();
    if (!child) {
        kill(getpid(), SIGUSR1);
        _exit(read(fd, info, sizeof *info) == sizeof *info && info[0].ssi_pid == getpid() ? 5 : 6);
    }
    reap("child that reads its own", child);
    return 0;
}
