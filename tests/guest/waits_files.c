/* eventfd, timerfd. */
#include "../host/linux/programs/say.h"
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

static void take(const char *what, int fd, void *into, long size) {
    uint64_t value = 99;
    long got = read(fd, &value, size);
    if (got == -1) say("%s: -1 %s", what, error_name(errno));
    else say("%s: %ld %llu", what, got, (unsigned long long)value);
    if (into) *(uint64_t *)into = value;
}

static int ready(int fd) {
    struct pollfd one = {fd, POLLIN | POLLOUT};
    poll(&one, 1, 0);
    return one.revents;
}

static void set(const char *what, int fd, int flags, long first_ms, long then_ms, struct itimerspec *old) {
    struct itimerspec new = {{then_ms / 1000, then_ms % 1000 * 1000000}, {first_ms / 1000, first_ms % 1000 * 1000000}};
    tell(what, timerfd_settime(fd, flags, &new, old));
}

static void *adds(void *fd) {
    uint64_t value = 5;
    sleep_ms(10);
    write(*(int *)fd, &value, 8);
    return 0;
}

static void *takes(void *fd) {
    uint64_t value;
    sleep_ms(10);
    read(*(int *)fd, &value, 8);
    say("took %llu", (unsigned long long)value);
    return 0;
}

int main(void) {
    uint64_t value = 0, words[2] = {3, 4};
    int fd = eventfd(2, EFD_NONBLOCK);
    tell("unknown flag", syscall(SYS_eventfd2, 0, 8));
    say("ready: %#x", ready(fd));
    take("read", fd, &value, 8);
    tell("read of nothing", read(fd, &value, 8));
    tell("small read", read(fd, &value, 4));
    tell("small write", write(fd, &value, 7));
    tell("large write", write(fd, words, 16));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    value = 3;
    write(fd, &value, 8);
    tell("large read", read(fd, words, 16));
    say("%llu", (unsigned long long)words[0]);
    value = -1;
    tell("too much", write(fd, &value, 8));
    value = -2;
    tell("most", write(fd, &value, 8));
    say("ready: %#x", ready(fd));
    value = 1;
    tell("overflow", write(fd, &value, 8));
    value = 0;
    tell("nothing more", write(fd, &value, 8));
    fcntl(fd, F_SETFL, 0);
    pthread_t thread;
    pthread_create(&thread, 0, takes, &fd);
    value = 7;
    tell("waits for room", write(fd, &value, 8));
    pthread_join(thread, 0);
    take("read", fd, &value, 8);
    pthread_create(&thread, 0, adds, &fd);
    take("waits", fd, &value, 8);
    pthread_join(thread, 0);
    int semaphore = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC);
    say("close on exec %d", fcntl(semaphore, F_GETFD));
    for (int i = 0; i < 3; i++) take("semaphore", semaphore, &value, 8);
    tell("pread", pread(fd, &value, 8, 0));

    /* Timers. */
    tell("bad clock", timerfd_create(CLOCK_PROCESS_CPUTIME_ID, 0));
    tell("bad flag", timerfd_create(CLOCK_MONOTONIC, 1));
    int t = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct itimerspec spec, old;
    tell("unset", timerfd_gettime(t, &spec));
    say("%ld %ld", (long)spec.it_value.tv_sec, (long)spec.it_value.tv_nsec);
    say("ready: %#x", ready(t));
    tell("read", read(t, &value, 8));
    tell("write", write(t, &value, 8));
    set("once", t, 0, 20, 0, 0);
    timerfd_gettime(t, &spec);
    yes("time is left", spec.it_value.tv_nsec > 10000000 && spec.it_value.tv_nsec <= 20000000);
    tell("not yet", read(t, &value, 8));
    sleep_ms(25);
    say("ready: %#x", ready(t));
    tell("small read", read(t, &value, 4));
    take("read", t, &value, 8);
    tell("only once", read(t, &value, 8));
    timerfd_gettime(t, &spec);
    say("off: %ld %ld", (long)spec.it_value.tv_sec, (long)spec.it_value.tv_nsec);
    set("periodic", t, 0, 10, 10, 0);
    sleep_ms(55);
    take("read", t, &value, 8);
    tell("read", read(t, &value, 8));
    fcntl(t, F_SETFL, 0);
    take("waits", t, &value, 8);
    set("off", t, 0, 0, 10, &old);
    yes("old interval", old.it_interval.tv_nsec == 10000000 && old.it_value.tv_nsec > 0 && old.it_value.tv_nsec <= 10000000);
    timerfd_gettime(t, &spec);
    say("off: %ld, %ld", (long)spec.it_value.tv_nsec, (long)spec.it_interval.tv_nsec);
    for (int i = 0; i < 2; i++) {
        int clock = i ? CLOCK_REALTIME : CLOCK_BOOTTIME;
        int a = timerfd_create(clock, 0);
        int64_t at = now_ns(clock) + 15000000;
        struct itimerspec absolute = {{0, 0}, {at / 1000000000, at % 1000000000}};
        tell("absolute", timerfd_settime(a, TFD_TIMER_ABSTIME | (i ? TFD_TIMER_CANCEL_ON_SET : 0), &absolute, 0));
        take("waits", a, &value, 8);
        yes("until then", now_ns(clock) >= at);
        absolute.it_value.tv_sec = 1;
        tell("in the past", timerfd_settime(a, TFD_TIMER_ABSTIME, &absolute, 0));
        take("at once", a, &value, 8);
    }
    spec = (struct itimerspec){{0, 0}, {0, 1000000000}};
    tell("too many ns", timerfd_settime(t, 0, &spec, 0));
    spec = (struct itimerspec){{-1, 0}, {1, 0}};
    tell("negative", timerfd_settime(t, 0, &spec, 0));
    spec = (struct itimerspec){{0, 0}, {1, 0}};
    tell("unknown flag", timerfd_settime(t, 8, &spec, 0));
    tell("no timer", timerfd_settime(fd, 0, &spec, 0));
    tell("bad address", timerfd_settime(t, 0, (void *)8, 0));

    /* Through epoll. */
    int ep = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    epoll_ctl(ep, EPOLL_CTL_ADD, t, &event);
    set("periodic", t, 0, 5, 5, 0);
    say("edge: %d", epoll_wait(ep, &event, 1, 1000));
    sleep_ms(20);
    say("not read, no other edge: %d", epoll_wait(ep, &event, 1, 0));
    read(t, &value, 8);
    yes("several", value >= 4 && value <= 8);
    say("edge: %d", epoll_wait(ep, &event, 1, 1000));
    set("anew", t, 0, 3, 0, 0);
    tell("no tick is left", epoll_wait(ep, &event, 1, 0));
    tell("edge", epoll_wait(ep, &event, 1, 1000));
    return 0;
}
