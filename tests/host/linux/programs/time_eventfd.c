/* eventfd: a counter to read and write. */
#include "say.h"
#include <poll.h>
#include <sys/eventfd.h>

static int fd;
static void show_read(const char *what) {
    uint64_t value = 0;
    ssize_t size = read(fd, &value, 8);
    if (size < 0)
        tell(what, -1);
    else
        say("%s: %zd bytes, %llu", what, size, (unsigned long long)value);
}
static void put(const char *what, uint64_t value) { tell(what, write(fd, &value, 8)); }
static void events(const char *what) {
    struct pollfd one = {fd, POLLIN | POLLOUT};
    poll(&one, 1, 0);
    say("%s:%s%s", what, one.revents & POLLIN ? " IN" : "", one.revents & POLLOUT ? " OUT" : "");
}

int main(void) {
    char small[4];
    tell("unknown flag", eventfd(0, 0x40000000));
    fd = eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC);
    say("close on exec: %d", fcntl(fd, F_GETFD));
    events("three");
    show_read("read");
    events("zero");
    show_read("of zero");
    put("write", 5), put("write", 7);
    show_read("the sum");
    tell("too small", read(fd, small, 4));
    tell("too small", write(fd, small, 4));
    put("all ones", UINT64_MAX);
    put("the most", UINT64_MAX - 1);
    events("the most");
    put("one more", 1);
    put("none more", 0);
    show_read("read");

    fd = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
    show_read("semaphore");
    show_read("semaphore");
    show_read("semaphore");

    /* Blocking: a child gives, the parent takes, and a write waits for room. */
    fd = eventfd(0, 0);
    pid_t child = forked();
    if (!child) {
        uint64_t value = 9;
        sleep_ms(8);
        write(fd, &value, 8);
        _exit(0);
    }
    show_read("waited");
    reap("child", child);
    put("the most", UINT64_MAX - 1);
    child = forked();
    if (!child) {
        sleep_ms(8);
        say("child takes");
        uint64_t value;
        read(fd, &value, 8);
        _exit(value == UINT64_MAX - 1 ? 0 : 1);
    }
    put("waited for room", 4);
    reap("child", child);
    show_read("read");
    eventfd_t value;
    tell("eventfd_write", eventfd_write(fd, 6));
    tell("eventfd_read", eventfd_read(fd, &value));
    say("value: %d", (int)value);
    return 0;
}
