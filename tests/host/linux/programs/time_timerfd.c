/* timerfd: once, again and again, at a time; and how many were missed. */
#include "say.h"
#include <poll.h>
#include <sys/timerfd.h>

static int fd;
static long set(int flags, long first_ms, long every_ms) {
    struct itimerspec spec = {{every_ms / 1000, every_ms % 1000 * 1000000},
                              {first_ms / 1000, first_ms % 1000 * 1000000}};
    return timerfd_settime(fd, flags, &spec, 0);
}

int main(void) {
    uint64_t count = 0;
    struct itimerspec left, old;
    tell("unknown clock", timerfd_create(77, 0));
    tell("timerfd_create, unknown flag", timerfd_create(CLOCK_MONOTONIC, 0x40000000));
    fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    yes("timerfd", fd >= 0);
    tell("not set", read(fd, &count, 8));
    tell("gettime", timerfd_gettime(fd, &left));
    say("left: %ld %ld", (long)left.it_value.tv_sec, left.it_value.tv_nsec);
    tell("once", set(0, 10, 0));
    tell("not yet", read(fd, &count, 8));
    timerfd_gettime(fd, &left);
    yes("left, of 10 ms",
        left.it_value.tv_sec == 0 && left.it_value.tv_nsec > 0 && left.it_value.tv_nsec <= 10000000);
    struct pollfd readable = {fd, POLLIN};
    int64_t start = now_ns(CLOCK_MONOTONIC);
    tell("poll", poll(&readable, 1, 1000));
    yes("waited", now_ns(CLOCK_MONOTONIC) - start > 3000000);
    tell("too small", read(fd, &count, 4));
    tell("read", read(fd, &count, 8));
    say("count: %d", (int)count);
    tell("read again", read(fd, &count, 8));
    timerfd_gettime(fd, &left);
    say("left: %ld", left.it_value.tv_nsec);

    fcntl(fd, F_SETFL, 0);
    start = now_ns(CLOCK_MONOTONIC);
    set(0, 5, 5);
    long total = 0;
    while (total < 4 && read(fd, &count, 8) == 8) total += count;
    yes("four periods take their time", total >= 4 && now_ns(CLOCK_MONOTONIC) - start >= 20000000);
    sleep_ms(22);
    read(fd, &count, 8);
    yes("missed ones are counted", count >= 4);
    timerfd_gettime(fd, &left);
    say("period: %ld", left.it_interval.tv_nsec);
    struct itimerspec off = {{0}};
    tell("off", timerfd_settime(fd, 0, &off, &old));
    yes("it was on", old.it_interval.tv_nsec == 5000000 && old.it_value.tv_nsec > 0);
    tell("poll of an idle one", poll(&readable, 1, 8));

    /* At a time, also one that has been. */
    struct itimerspec at = {{0}};
    int64_t when = now_ns(CLOCK_MONOTONIC) + 8000000;
    at.it_value = (struct timespec){when / 1000000000, when % 1000000000};
    tell("TFD_TIMER_ABSTIME", timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, 0));
    tell("read", read(fd, &count, 8));
    yes("not before", now_ns(CLOCK_MONOTONIC) >= when);
    at.it_value = (struct timespec){0, 1};
    timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, 0);
    tell("long ago", read(fd, &count, 8));
    say("count: %d", (int)count);
    int64_t wall = now_ns(CLOCK_REALTIME) + 5000000;
    int real = timerfd_create(CLOCK_REALTIME, 0);
    at.it_value = (struct timespec){wall / 1000000000, wall % 1000000000};
    timerfd_settime(real, TFD_TIMER_ABSTIME, &at, 0);
    tell("by the wall clock", read(real, &count, 8));
    at.it_value = (struct timespec){0, 1000000000};
    tell("wrong time", timerfd_settime(fd, 0, &at, 0));
    tell("unknown flag", timerfd_settime(fd, 0x40, &off, 0));
    tell("no timerfd", timerfd_settime(1, 0, &off, 0));
    return 0;
}
