/* Files that stand for processes. */
#include "say.h"
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif
static int pidfd_of(pid_t pid, int flags) { return syscall(434, pid, flags); }
static long signal_to(int fd, int number, siginfo_t *info, int flags) { return syscall(424, fd, number, info, flags); }

static volatile int value;
static void on_signal(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    value = info->si_value.sival_int;
}

int main(void) {
    tell("of nobody", pidfd_of(99999999, 0)), tell("of 0", pidfd_of(0, 0)), tell("a flag", pidfd_of(getpid(), 1));
    pid_t child = forked();
    if (!child) pause(), _exit(0);
    int fd = pidfd_of(child, 0);
    yes("opened", fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC);
    struct pollfd polled = {fd, POLLIN};
    tell("poll", poll(&polled, 1, 0));
    tell("signal 0", signal_to(fd, 0, 0, 0)), tell("a flag", signal_to(fd, 0, 0, 0x100));
    tell("no pidfd", signal_to(0, 0, 0, 0));
    siginfo_t info = {0};
    tell("waitid", waitid(P_PIDFD, fd, &info, WEXITED | WNOHANG));
    int waiting = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    tell("epoll_ctl", epoll_ctl(waiting, EPOLL_CTL_ADD, fd, &event));
    tell("signal", signal_to(fd, SIGTERM, 0, 0));
    tell("epoll_wait", epoll_wait(waiting, &event, 1, 5000));
    tell("poll", poll(&polled, 1, 5000));
    tell("waitid", waitid(P_PIDFD, fd, &info, WEXITED));
    say("%d by %d", info.si_pid == child, info.si_status);
    tell("waitid again", waitid(P_PIDFD, fd, &info, WEXITED));
    tell("signal to nobody", signal_to(fd, 0, 0, 0)), tell("poll", poll(&polled, 1, 0));
    tell("waitid of no pidfd", waitid(P_PIDFD, 0, &info, WEXITED));
    tell("of what was waited for", pidfd_of(child, 0));

    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &action, 0);
    int self = pidfd_of(getpid(), 0);
    siginfo_t sent = {.si_signo = SIGUSR1, .si_code = SI_QUEUE};
    sent.si_value.sival_int = 42;
    tell("with a value", signal_to(self, SIGUSR1, &sent, 0));
    say("%d", value);

    int ends[2], got;
    pipe(ends);
    tell("pidfd_getfd of none", syscall(438, self, 99, 0));
    got = syscall(438, self, ends[1], 0);
    tell("written through it", write(got, "x", 1));
    int made = -1;
    child = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &made, 0, 0);
    if (!child) _exit(7);
    yes("CLONE_PIDFD", made >= 0);
    tell("waitid", waitid(P_PIDFD, made, &info, WEXITED));
    say("exit %d", info.si_status);
    return 0;
}
