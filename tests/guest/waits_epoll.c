/* epoll: what is told when, how often, and to whom. */
#include "../host/linux/programs/say.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <pthread.h>

static struct epoll_event got[8];

static void wait_for(const char *what, int epoll, int timeout) {
    int count = epoll_wait(epoll, got, 8, timeout);
    if (count < 0) { say("%s: -1 %s", what, error_name(errno)); return; }
    char text[300] = "";
    int at = 0;
    for (int i = 0; i < count; i++) at += snprintf(text + at, sizeof text - at, " %d:%#x", (int)got[i].data.u64, got[i].events);
    say("%s: %d%s", what, count, text);
}

static int control(int epoll, int operation, int fd, unsigned events, int data) {
    struct epoll_event event = {.events = events, .data.u64 = data};
    return epoll_ctl(epoll, operation, fd, &event);
}

static int written;
static void *writes(void *fd) {
    sleep_ms(10);
    written = 1;
    write(*(int *)fd, "t", 1);
    return 0;
}

int main(void) {
    int ep = epoll_create1(EPOLL_CLOEXEC), p[2], q[2];
    char c, buffer[100];
    yes("close on exec", fcntl(ep, F_GETFD) == FD_CLOEXEC);
    tell("unknown flag", epoll_create1(1));
    pipe(p), pipe(q);

    /* Refusals. */
    tell("add", control(ep, EPOLL_CTL_ADD, p[0], EPOLLIN, 1));
    tell("again", control(ep, EPOLL_CTL_ADD, p[0], EPOLLIN, 1));
    tell("modify what is not there", control(ep, EPOLL_CTL_MOD, q[0], EPOLLIN, 1));
    tell("delete what is not there", control(ep, EPOLL_CTL_DEL, q[0], 0, 0));
    tell("itself", control(ep, EPOLL_CTL_ADD, ep, EPOLLIN, 1));
    tell("not open", control(ep, EPOLL_CTL_ADD, 77, EPOLLIN, 1));
    tell("no epoll", control(p[0], EPOLL_CTL_ADD, q[0], EPOLLIN, 1));
    tell("epoll not open", control(77, EPOLL_CTL_ADD, q[0], EPOLLIN, 1));
    tell("unknown operation", control(ep, 9, q[0], EPOLLIN, 1));
    tell("bad event", epoll_ctl(ep, EPOLL_CTL_ADD, q[0], (void *)1));
    int folder = open(".", O_RDONLY), null = open("/dev/null", O_RDWR);
    tell("a folder", control(ep, EPOLL_CTL_ADD, folder, EPOLLIN, 1));
    tell("/dev/null", control(ep, EPOLL_CTL_ADD, null, EPOLLIN, 1));
    tell("a path", control(ep, EPOLL_CTL_ADD, open(".", O_PATH), EPOLLIN, 1));
    tell("wait on a pipe", epoll_wait(p[0], got, 8, 0));
    tell("no room", epoll_wait(ep, got, 0, 0));
    tell("negative room", epoll_wait(ep, got, -1, 0));
    tell("not open", epoll_wait(77, got, 1, 0));
    tell("read", read(ep, buffer, 8));
    tell("write", write(ep, buffer, 8));

    /* Level-triggered. */
    wait_for("nothing", ep, 0);
    int64_t start = now_ns(CLOCK_MONOTONIC);
    wait_for("nothing for 20 ms", ep, 20);
    int64_t took = (now_ns(CLOCK_MONOTONIC) - start) / 1000000;
    yes("it took so long", took >= 20 && took < 60);
    write(p[1], "ab", 2);
    wait_for("level", ep, -1), wait_for("level again", ep, -1);
    read(p[0], buffer, 2);
    wait_for("read", ep, 0);
    tell("modify", control(ep, EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLET, 2));
    write(p[1], "ab", 2);
    wait_for("edge", ep, -1), wait_for("edge again", ep, 0);
    read(p[0], &c, 1);
    wait_for("some read", ep, 0);
    write(p[1], "c", 1);
    wait_for("more came", ep, 0), wait_for("told", ep, 0);
    tell("modify", control(ep, EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLET, 3));
    wait_for("modified, so told anew", ep, 0), wait_for("told", ep, 0);
    tell("one shot", control(ep, EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLONESHOT, 4));
    wait_for("one shot", ep, 0);
    write(p[1], "d", 1);
    wait_for("is over", ep, 0);
    tell("again", control(ep, EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLONESHOT, 5));
    wait_for("one shot", ep, 0);
    tell("delete", epoll_ctl(ep, EPOLL_CTL_DEL, p[0], 0));
    wait_for("deleted", ep, 0);

    /* Ends of pipes. */
    tell("writer's end", control(ep, EPOLL_CTL_ADD, q[1], EPOLLOUT | EPOLLET, 6));
    wait_for("room", ep, 0), wait_for("told", ep, 0);
    fcntl(q[1], F_SETFL, O_NONBLOCK);
    while (write(q[1], buffer, 100) > 0) {}
    wait_for("full", ep, 0);
    static char much[65536];
    read(q[0], much, sizeof much);
    wait_for("empty", ep, 0);
    close(q[0]);
    wait_for("reader gone", ep, 0);
    close(q[1]);
    wait_for("closed", ep, 0);

    /* An interest belongs to the open file. */
    pipe(q);
    int copy = dup(q[0]);
    tell("add", control(ep, EPOLL_CTL_ADD, q[0], EPOLLIN, 7));
    tell("the copy, too", control(ep, EPOLL_CTL_ADD, copy, EPOLLIN, 8));
    write(q[1], "x", 1);
    wait_for("both", ep, 0);
    close(copy);
    wait_for("a closed descriptor of an open file", ep, 0);
    tell("it cannot be deleted", control(ep, EPOLL_CTL_DEL, copy, 0, 0));
    close(q[0]);
    wait_for("all closed", ep, 0);
    close(q[1]);

    /* Round robin. */
    int e[5];
    for (int i = 0; i < 5; i++) e[i] = eventfd(1, EFD_NONBLOCK), control(ep, EPOLL_CTL_ADD, e[i], EPOLLIN, 10 + i);
    for (int i = 0; i < 4; i++) {
        int count = epoll_wait(ep, got, 2, 0);
        say("two of five: %d %d %d", count, (int)got[0].data.u64, (int)got[1].data.u64);
    }
    uint64_t value;
    for (int i = 0; i < 5; i++) read(e[i], &value, 8);
    wait_for("none", ep, 0);
    value = 1;
    write(e[3], &value, 8), write(e[1], &value, 8), write(e[4], &value, 8), write(e[1], &value, 8);
    wait_for("in the order of coming", ep, 0);
    for (int i = 0; i < 5; i++) close(e[i]);
    wait_for("closed", ep, 0);

    /* Edges of an eventfd. */
    int ev = eventfd(0, EFD_NONBLOCK);
    control(ep, EPOLL_CTL_ADD, ev, EPOLLIN | EPOLLOUT | EPOLLET, 20);
    wait_for("room", ep, 0), wait_for("told", ep, 0);
    write(ev, &value, 8);
    wait_for("written", ep, 0), wait_for("told", ep, 0);
    write(ev, &value, 8);
    wait_for("written again", ep, 0);
    read(ev, &value, 8);
    wait_for("read", ep, 0);
    control(ep, EPOLL_CTL_MOD, ev, EPOLLIN | EPOLLET, 21);
    wait_for("only reading", ep, 0);
    value = 1;
    write(ev, &value, 8), wait_for("written", ep, 0);
    write(ev, &value, 8), read(ev, &value, 8), wait_for("written and read", ep, 0);
    control(ep, EPOLL_CTL_MOD, ev, EPOLLIN | EPOLLOUT, 22);
    tell("exclusive cannot be set later", control(ep, EPOLL_CTL_MOD, ev, EPOLLIN | EPOLLEXCLUSIVE, 1));
    epoll_ctl(ep, EPOLL_CTL_DEL, ev, 0);
    tell("exclusive", control(ep, EPOLL_CTL_ADD, ev, EPOLLIN | EPOLLEXCLUSIVE, 23));
    tell("exclusive cannot be changed", control(ep, EPOLL_CTL_MOD, ev, EPOLLIN, 23));
    epoll_ctl(ep, EPOLL_CTL_DEL, ev, 0);
    tell("exclusive with others", control(ep, EPOLL_CTL_ADD, ev, EPOLLIN | EPOLLONESHOT | EPOLLEXCLUSIVE, 23));

    /* Epolls that watch each other. */
    int outer = epoll_create1(0);
    tell("nest", control(outer, EPOLL_CTL_ADD, ep, EPOLLIN, 30));
    tell("circle", control(ep, EPOLL_CTL_ADD, outer, EPOLLIN, 31));
    tell("exclusive epoll", control(ep, EPOLL_CTL_ADD, epoll_create1(0), EPOLLIN | EPOLLEXCLUSIVE, 31));
    control(ep, EPOLL_CTL_ADD, ev, EPOLLIN, 32);
    wait_for("outer, nothing", outer, 0);
    value = 1;
    write(ev, &value, 8);
    wait_for("outer", outer, -1);
    struct pollfd polled = {outer, POLLIN};
    tell("poll of it", poll(&polled, 1, 0)), say("%#x", polled.revents);
    wait_for("inner", ep, 0);
    read(ev, &value, 8);
    wait_for("outer, read", outer, 0);
    tell("poll of it", poll(&polled, 1, 0)), say("%#x", polled.revents);
    control(outer, EPOLL_CTL_MOD, ep, EPOLLIN | EPOLLET, 33);
    value = 1;
    write(ev, &value, 8);
    wait_for("outer edge", outer, 0), wait_for("told", outer, 0);
    write(ev, &value, 8);
    wait_for("outer edge, another event", outer, 0);
    close(ev);
    wait_for("inner, closed", ep, 0);
    int row[9];
    for (int i = 0; i < 9; i++) row[i] = epoll_create1(0);
    for (int i = 0; i < 8; i++) say("row %d: %d", i, control(row[i + 1], EPOLL_CTL_ADD, row[i], EPOLLIN, i) ? errno == ELOOP : 0);

    /* Somebody else. */
    close(p[0]), close(p[1]), pipe(p);
    control(ep, EPOLL_CTL_ADD, p[0], EPOLLIN | EPOLLRDHUP, 40);
    pthread_t thread;
    pthread_create(&thread, 0, writes, &p[1]);
    wait_for("a thread writes", ep, -1);
    yes("it had", written);
    pthread_join(thread, 0);
    read(p[0], &c, 1);
    pid_t child = forked();
    if (!child) {
        sleep_ms(10), write(p[1], "u", 1);
        wait_for("in the child", ep, 0);
        _exit(0);
    }
    wait_for("a child writes", outer, 2000);
    reap("child", child);
    wait_for("still", ep, 0);

    /* epoll_pwait2 and masks. */
    read(p[0], &c, 1);
    struct timespec time = {0, 3000000};
    if (syscall(441, ep, got, 8, &time, 0, 0) == -1 && errno == ENOSYS) say("pwait2: 0"), say("pwait2: -1 EINVAL");
    else {
        time = (struct timespec){0, 3000000};
        say("pwait2: %ld", syscall(441, ep, got, 8, &time, 0, 0));
        time.tv_nsec = -1;
        tell("pwait2", syscall(441, ep, got, 8, &time, 0, 0));
    }
    sigset_t set;
    sigemptyset(&set);
    tell("mask size", syscall(SYS_epoll_pwait, ep, got, 8, 0, &set, 7));
    return 0;
}
