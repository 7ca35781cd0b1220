/* A pipe has room for pages, not for bytes; packets; writes of nothing; reads into nowhere. */
#include "say.h"
#include <poll.h>
#include <sys/ioctl.h>

static char bytes[1 << 17];
static int ends[2];

static void make(int flags) {
    close(ends[0]), close(ends[1]);
    if (pipe2(ends, flags)) _exit(98);
}

static void events(const char *what) {
    struct pollfd file = {ends[1], POLLOUT};
    poll(&file, 1, 0);
    say("%s: %s", what, file.revents & POLLOUT ? "room" : "full");
}

int main(void) {
    int size;
    pipe(ends);
    make(O_NONBLOCK);
    tell("fill", write(ends[1], bytes, sizeof bytes));
    tell("read part of a page", read(ends[0], bytes, 4095));
    events("then");
    tell("write", write(ends[1], bytes, 1));
    tell("read the rest of it", read(ends[0], bytes, 1));
    events("then");
    tell("write more than a page", write(ends[1], bytes, 4097));
    events("then");

    make(O_NONBLOCK);
    tell("small pipe", fcntl(ends[0], F_SETPIPE_SZ, 1));
    tell("write 3000", write(ends[1], bytes, 3000));
    tell("write 1000 behind it", write(ends[1], bytes, 1000));
    tell("write 97", write(ends[1], bytes, 97));
    tell("write 96", write(ends[1], bytes, 96));
    tell("two pages", fcntl(ends[0], F_SETPIPE_SZ, 8192));
    tell("write 1", write(ends[1], bytes, 1));
    tell("one page", fcntl(ends[0], F_SETPIPE_SZ, 4096));
    tell("none", fcntl(ends[0], F_SETPIPE_SZ, 0));
    ioctl(ends[0], FIONREAD, &size);
    say("has %d", size);
    tell("read", read(ends[0], bytes, sizeof bytes));
    tell("none", fcntl(ends[0], F_SETPIPE_SZ, 0));

    make(O_NONBLOCK);
    for (int i = 0; i < 20; i++)
        if (write(ends[1], bytes, 4000) != 4000) tell("after", i);
    make(O_NONBLOCK | O_DIRECT);
    write(ends[1], "one", 3), write(ends[1], "second", 6), write(ends[1], bytes, 5000);
    tell("packet", read(ends[0], bytes, 100));
    tell("part of a packet", read(ends[0], bytes, 2));
    tell("first page of the next", read(ends[0], bytes, 9999));
    tell("second page", read(ends[0], bytes, 9999));
    tell("none", read(ends[0], bytes, 1));

    make(0);
    write(ends[1], "abcd", 4);
    tell("read into nowhere", read(ends[0], (char *)8, 4));
    tell("read", read(ends[0], bytes, 9));
    int file = open("file", O_CREAT | O_RDWR, 0600);
    write(file, "abcd", 4);
    lseek(file, 1, SEEK_SET);
    tell("read a file into nowhere", read(file, (char *)8, 4));
    tell("it is at", lseek(file, 0, SEEK_CUR));

    signal(SIGPIPE, SIG_IGN);
    close(ends[0]);
    tell("write nothing", write(ends[1], "", 0));
    tell("write", write(ends[1], "x", 1));
    return 0;
}
