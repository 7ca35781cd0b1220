/* epoll: level and edge, once, nested, and what epoll_ctl refuses. */
#include "say.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

static int epoll;
static long control(int operation, int fd, unsigned events) {
    struct epoll_event event = {.events = events, .data.u64 = 0x100000000ull + fd};
    return epoll_ctl(epoll, operation, fd, &event);
}

static struct epoll_event got[8];
static void wait_for(const char *what) {
    int n = epoll_wait(epoll, got, 8, 0);
    say("%s: %d%s%s%s%s", what, n, n > 0 && got[0].events & EPOLLIN ? " IN" : "",
        n > 0 && got[0].events & EPOLLOUT ? " OUT" : "", n > 0 && got[0].events & EPOLLHUP ? " HUP" : "",
        n > 0 && got[0].events & EPOLLERR ? " ERR" : "");
}

int main(void) {
    int ends[2], others[2];
    char c[8];
    tell("size 0", epoll_create(0));
    tell("unknown flag", epoll_create1(1));
    epoll = epoll_create1(EPOLL_CLOEXEC);
    say("close on exec: %d", fcntl(epoll, F_GETFD));
    pipe(ends), pipe(others);
    tell("add", control(EPOLL_CTL_ADD, ends[0], EPOLLIN));
    tell("add again", control(EPOLL_CTL_ADD, ends[0], EPOLLIN));
    tell("change what is not there", control(EPOLL_CTL_MOD, others[0], EPOLLIN));
    tell("take out what is not there", control(EPOLL_CTL_DEL, others[0], 0));
    tell("a closed descriptor", control(EPOLL_CTL_ADD, 999, EPOLLIN));
    tell("itself", control(EPOLL_CTL_ADD, epoll, EPOLLIN));
    tell("a file", control(EPOLL_CTL_ADD, open("file", O_CREAT | O_RDWR, 0644), EPOLLIN));
    tell("unknown operation", control(77, ends[0], EPOLLIN));
    tell("event nowhere", epoll_ctl(epoll, EPOLL_CTL_MOD, ends[0], (void *)8));
    tell("of no epoll", epoll_ctl(ends[0], EPOLL_CTL_ADD, others[0], got));
    tell("no room", epoll_wait(epoll, got, 0, 0));
    tell("wait with no epoll", epoll_wait(ends[0], got, 1, 0));

    wait_for("nothing");
    write(ends[1], "12", 2);
    wait_for("level");
    yes("data", got[0].data.u64 == 0x100000000ull + ends[0]);
    wait_for("level stays");
    read(ends[0], c, 1);
    wait_for("while there is any");
    read(ends[0], c, 1);
    wait_for("empty");

    control(EPOLL_CTL_MOD, ends[0], EPOLLIN | EPOLLET);
    write(ends[1], "1", 1);
    wait_for("edge");
    wait_for("edge is told once");
    write(ends[1], "2", 1);
    wait_for("a new one");
    read(ends[0], c, 1);
    wait_for("reading makes none");
    control(EPOLL_CTL_MOD, ends[0], EPOLLIN | EPOLLET);
    wait_for("changing looks again");

    control(EPOLL_CTL_MOD, ends[0], EPOLLIN | EPOLLONESHOT);
    wait_for("once");
    write(ends[1], "3", 1);
    wait_for("no more");
    control(EPOLL_CTL_MOD, ends[0], EPOLLIN | EPOLLONESHOT);
    wait_for("until set again");
    read(ends[0], c, 8);
    control(EPOLL_CTL_MOD, ends[0], EPOLLIN);
    close(ends[1]);
    wait_for("no writer");
    close(ends[0]);
    wait_for("closed: it is out");

    /* A copy keeps it in. */
    int copy = dup(others[0]);
    control(EPOLL_CTL_ADD, others[0], EPOLLIN);
    write(others[1], "x", 1);
    close(others[0]);
    wait_for("closed, but for a copy");
    close(copy);
    wait_for("closed both");

    /* An epoll in an epoll; but not in a circle. */
    int inner = epoll, outer = epoll_create1(0), event = eventfd(0, 0);
    control(EPOLL_CTL_ADD, event, EPOLLIN);
    epoll = outer;
    tell("nested", control(EPOLL_CTL_ADD, inner, EPOLLIN));
    wait_for("outer");
    eventfd_write(event, 1);
    wait_for("outer");
    struct pollfd readable = {outer, POLLIN};
    tell("poll of an epoll", poll(&readable, 1, 0));
    epoll = inner;
    tell("a circle", control(EPOLL_CTL_ADD, outer, EPOLLIN));
    wait_for("inner");

    /* Many at once, a few at a time: none is left out. */
    int fds[6], seen = 0;
    epoll = epoll_create1(0);
    for (int i = 0; i < 6; i++) fds[i] = eventfd(1, 0), control(EPOLL_CTL_ADD, fds[i], EPOLLIN);
    for (int i = 0; i < 3; i++) {
        int n = epoll_wait(epoll, got, 2, 0);
        for (int j = 0; j < n; j++)
            for (int k = 0; k < 6; k++) seen |= (int)got[j].data.u64 == fds[k] ? 1 << k : 0;
    }
    say("seen: %#x", seen);

    /* Another process makes it ready, and a signal interrupts. */
    pid_t child;
    epoll = inner;
    eventfd_t count;
    eventfd_read(event, &count);
    if (!(child = forked())) sleep_ms(8), eventfd_write(event, 5), _exit(0);
    tell("waits", epoll_wait(epoll, got, 8, -1));
    reap("child", child);
    return 0;
}
