/* poll(0, 0, 50) is a way to sleep: it has to take that long, and so do its relatives. */
#include "say.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>

static int64_t start;

static void took(const char *what, long result, int ms) {
    int64_t passed = now_ns(CLOCK_MONOTONIC) - start;
    say("%s: %ld, at least %d ms: %s", what, result, ms, passed >= ms * 1000000LL ? "yes" : "no");
    start = now_ns(CLOCK_MONOTONIC);
}

int main(void) {
    struct timeval tv = {0, 20000};
    struct timespec ts = {0, 20000000};
    struct pollfd none = {-1, POLLIN, 99};
    int ends[2], epoll = epoll_create1(0);
    struct epoll_event event;
    start = now_ns(CLOCK_MONOTONIC);
    took("poll", poll(0, 0, 50), 50);
    took("poll of no descriptor", poll(&none, 1, 20), 20);
    say("revents: %d", none.revents);
    took("poll at once", poll(0, 0, 0), 0);
    took("ppoll", ppoll(0, 0, &ts, 0), 20);
    took("select", select(0, 0, 0, 0, &tv), 20);
    took("pselect", pselect(0, 0, 0, 0, &ts, 0), 20);
    took("epoll_wait", epoll_wait(epoll, &event, 1, 20), 20);
    took("usleep", usleep(10000), 10);
    took("nanosleep", nanosleep(&(struct timespec){0, 10000000}, 0), 10);
    pipe(ends);
    struct pollfd both[2] = {{ends[0], POLLIN}, {ends[1], POLLIN}};
    took("poll of an empty pipe", poll(both, 2, 20), 20);
    write(ends[1], "x", 1);
    took("poll of a filled one", poll(both, 2, -1), 0);
    say("revents: %d %d", both[0].revents == POLLIN, both[1].revents);
    return 0;
}
