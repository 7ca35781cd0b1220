/* SA_RESTART or EINTR: for reads, waits and sleeps. A child sends the signal once this one sleeps. */
#include "say.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>

static volatile int handled;
static int ends[2], done[2];
static void handler(int signal) { handled++; }

/* A child that interrupts its parent, and later writes the byte that a read which goes on waits for. */
static pid_t once(int byte) {
    pid_t child = forked();
    if (!child) {
        sleep_ms(8);
        kill(getppid(), SIGUSR1);
        sleep_ms(8);
        if (byte) write(ends[1], "x", 1);
        _exit(33);
    }
    return child;
}

/* A child that interrupts until its parent says that it noticed: one signal could come before it sleeps. */
static pid_t often(void) {
    pid_t child = forked();
    if (!child) {
        struct pollfd noticed = {done[0], POLLIN};
        char c;
        while (poll(&noticed, 1, 4) != 1) kill(getppid(), SIGUSR1);
        read(done[0], &c, 1);
        _exit(0);
    }
    return child;
}

static void release(pid_t child) {
    write(done[1], "x", 1);
    while (waitpid(child, 0, 0) == -1 && errno == EINTR) {}
}

static void noticed(const char *what, long result, pid_t child) {
    tell(what, result);
    release(child);
}

static void with(const char *kind, int flags) {
    char c;
    struct timespec left = {0}, two = {2, 0};
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigaction(SIGUSR1, &action, 0);
    say("-- %s", kind);

    pid_t child;
    if (flags & SA_RESTART) {
        child = once(1);
        tell("read", read(ends[0], &c, 1));
        reap("its child", child);
        reap("waitpid", once(0));
    } else {
        child = often();
        noticed("read", read(ends[0], &c, 1), child);
        child = often();
        noticed("waitpid", waitpid(child, 0, 0), child);
    }
    /* These never start again. */
    child = often();
    noticed("nanosleep", nanosleep(&two, &left), child);
    yes("time is left", left.tv_sec == 1 && left.tv_nsec > 0);
    child = often();
    code("clock_nanosleep", clock_nanosleep(CLOCK_MONOTONIC, 0, &two, 0));
    release(child);
    struct pollfd for_read = {ends[0], POLLIN};
    child = often();
    noticed("poll", poll(&for_read, 1, 2000), child);
    child = often();
    noticed("select", select(0, 0, 0, 0, &(struct timeval){2, 0}), child);
    child = often();
    noticed("pause", pause(), child);
    struct epoll_event event;
    int epoll = epoll_create1(0);
    child = often();
    noticed("epoll_wait", epoll_wait(epoll, &event, 1, 2000), child);
    close(epoll);

    /* A socket's read starts again, unless it has a timeout. */
    int sockets[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, sockets);
    struct timeval timeout = {2, 0};
    setsockopt(sockets[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    child = often();
    noticed("recv with a timeout", recv(sockets[0], &c, 1, 0), child);
    close(sockets[0]), close(sockets[1]);
}

int main(void) {
    pipe(ends), pipe(done);
    with("EINTR", 0);
    with("SA_RESTART", SA_RESTART);
    yes("handled", handled >= 18);

    /* An ignored signal interrupts nothing, a blocked one neither. */
    char c;
    signal(SIGUSR1, SIG_IGN);
    pid_t child = once(1);
    tell("read, ignored", read(ends[0], &c, 1));
    reap("child", child);
    signal(SIGUSR1, handler);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, 0);
    child = once(1);
    tell("read, blocked", read(ends[0], &c, 1));
    reap("child", child);
    return 0;
}
