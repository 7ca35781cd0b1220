/* poll, ppoll, select and pselect: which events, which errors, and masks that let a signal in. */
#include "say.h"
#include <poll.h>
#include <sys/select.h>
#include <sys/socket.h>

static volatile int handled;
static void handler(int signal) { handled++; }

static const char *events(int revents) {
    static char text[64];
    *text = 0;
    if (revents & POLLIN) strcat(text, "IN ");
    if (revents & POLLOUT) strcat(text, "OUT ");
    if (revents & POLLERR) strcat(text, "ERR ");
    if (revents & POLLHUP) strcat(text, "HUP ");
    if (revents & POLLNVAL) strcat(text, "NVAL ");
    if (revents & POLLRDHUP) strcat(text, "RDHUP ");
    return *text ? text : "none ";
}

static void poll_one(const char *what, int fd, int wanted) {
    struct pollfd one = {fd, wanted, 0x1234};
    int n = poll(&one, 1, 0);
    say("%s: %d, %s", what, n, events(one.revents));
}

int main(void) {
    int ends[2], sockets[2];
    char c;
    pipe(ends), socketpair(AF_UNIX, SOCK_STREAM, 0, sockets);
    int file = open("file", O_CREAT | O_RDWR, 0644);
    poll_one("empty pipe", ends[0], POLLIN);
    poll_one("its other end", ends[1], POLLOUT);
    write(ends[1], "x", 1);
    poll_one("filled pipe", ends[0], POLLIN | POLLOUT);
    poll_one("asked for nothing", ends[0], 0);
    poll_one("a file is always ready", file, POLLIN | POLLOUT);
    poll_one("a closed descriptor", 999, POLLIN);
    poll_one("a negative one", -5, POLLIN);
    poll_one("socket", sockets[0], POLLIN | POLLOUT);
    shutdown(sockets[1], SHUT_WR);
    poll_one("its peer writes no more", sockets[0], POLLIN | POLLRDHUP);
    close(sockets[1]);
    poll_one("its peer is gone", sockets[0], POLLIN | POLLOUT);
    close(ends[1]);
    poll_one("filled pipe without writer", ends[0], POLLIN);
    read(ends[0], &c, 1);
    poll_one("empty pipe without writer", ends[0], POLLIN);
    tell("nowhere", poll((struct pollfd *)8, 1, 0));
    tell("more than may be open", poll(0, 1 << 30, 0));

    /* Somebody else makes it ready. */
    pipe(ends);
    pid_t child = forked();
    if (!child) sleep_ms(8), write(ends[1], "x", 1), _exit(0);
    struct pollfd both[2] = {{ends[0], POLLIN}, {file, 0}};
    tell("waits", poll(both, 2, -1));
    reap("child", child);
    read(ends[0], &c, 1);

    /* ppoll swaps the mask while it waits: a blocked signal comes in only then. */
    sigset_t set, none;
    sigemptyset(&set), sigemptyset(&none), sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, 0);
    signal(SIGUSR1, handler);
    raise(SIGUSR1);
    struct timespec second = {1, 0};
    tell("poll does not let it in", poll(both, 1, 1));
    say("handled: %d", handled);
    tell("ppoll does", ppoll(both, 1, &second, &none));
    say("handled: %d", handled);
    sigprocmask(SIG_BLOCK, 0, &none);
    yes("blocked again", sigismember(&none, SIGUSR1));
    sigemptyset(&none);
    raise(SIGUSR1);
    fd_set readable, writable;
    FD_ZERO(&readable);
    FD_SET(ends[0], &readable);
    tell("pselect does", pselect(ends[0] + 1, &readable, 0, 0, &second, &none));
    say("handled: %d", handled);
    struct timespec wrong = {0, 1000000000};
    tell("wrong time", ppoll(both, 1, &wrong, 0));

    FD_ZERO(&readable);
    FD_ZERO(&writable);
    FD_SET(ends[0], &readable);
    FD_SET(ends[1], &writable);
    FD_SET(file, &readable);
    struct timeval at_once = {0, 0};
    tell("select", select(100, &readable, &writable, 0, &at_once));
    say("sets: %d %d %d", !!FD_ISSET(ends[0], &readable), !!FD_ISSET(ends[1], &writable),
        !!FD_ISSET(file, &readable));
    int closed = dup(0);
    close(closed);
    FD_ZERO(&readable);
    FD_SET(closed, &readable);
    tell("of a closed descriptor", select(closed + 1, &readable, 0, 0, &at_once));
    tell("negative count", select(-1, 0, 0, 0, &at_once));
    tell("nothing at all", select(0, 0, 0, 0, &at_once));
    struct timeval half = {0, 5000};
    FD_ZERO(&readable);
    FD_SET(ends[0], &readable);
    tell("nothing comes", select(ends[0] + 1, &readable, 0, 0, &half));
    say("set: %d", !!FD_ISSET(ends[0], &readable));
    return 0;
}
