/* Waits for what nobody will ever do. */
#include "../host/linux/programs/say.h"
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>

int main(int count, char **words) {
    int p[2];
    pipe(p);
    struct pollfd one = {p[0], POLLIN};
    if (!strcmp(words[1], "poll")) poll(&one, 1, -1);
    if (!strcmp(words[1], "epoll")) {
        int ep = epoll_create1(0);
        struct epoll_event event = {.events = EPOLLIN};
        epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &event);
        epoll_wait(ep, &event, 1, -1);
    }
    uint64_t value;
    if (!strcmp(words[1], "eventfd")) read(eventfd(0, 0), &value, 8);
    if (!strcmp(words[1], "periodic")) { /* a timer that nobody reads */
        int timer = timerfd_create(CLOCK_MONOTONIC, 0);
        struct itimerspec spec = {{0, 1000}, {0, 1000}};
        timerfd_settime(timer, 0, &spec, 0);
        poll(&one, 1, -1);
    }
    if (!strcmp(words[1], "ignored") || !strcmp(words[1], "later")) { /* a timer whose signal does nothing */
        struct itimerval often = {{0, 1000}, {0, 1000}};
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
        struct itimerspec once = {{0, 0}, {0, 50000000}};
        timer_t timer;
        signal(SIGALRM, SIG_IGN);
        setitimer(ITIMER_REAL, &often, 0);
        if (!strcmp(words[1], "later")) { /* and one that ends the program */
            timer_create(CLOCK_MONOTONIC, &event, &timer);
            timer_settime(timer, 0, &once, 0);
        }
        poll(&one, 1, -1);
    }
    return 0;
}
