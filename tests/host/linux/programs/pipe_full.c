/* A pipe's capacity, and PIPE_BUF: a write of up to that many bytes goes in whole or not at all. */
#include "say.h"
#include <limits.h>
#include <poll.h>

static char block[65536 * 3];

static int events(int fd, int wanted) {
    struct pollfd poll_for = {fd, wanted};
    poll(&poll_for, 1, 0);
    return poll_for.revents;
}

int main(void) {
    int ends[2];
    pipe2(ends, O_NONBLOCK);
    say("PIPE_BUF: %d", PIPE_BUF);
    say("capacity: %d", fcntl(ends[0], F_GETPIPE_SZ));
    yes("empty: writable", events(ends[1], POLLOUT) == POLLOUT);
    yes("empty: readable", events(ends[0], POLLIN) & POLLIN);
    long size = 0;
    for (ssize_t n; (n = write(ends[1], block, PIPE_BUF)) > 0; size += n) {}
    tell("write to a full one", write(ends[1], block, 1));
    say("held: %ld", size);
    yes("full: writable", events(ends[1], POLLOUT) & POLLOUT);
    yes("full: readable", events(ends[0], POLLIN) & POLLIN);
    /* Linux frees room a page at a time. */
    tell("read a page", read(ends[0], block, PIPE_BUF));
    tell("more than the room, more than PIPE_BUF", write(ends[1], block, 2 * PIPE_BUF));
    tell("read a page", read(ends[0], block, PIPE_BUF));
    tell("a part", write(ends[1], block, PIPE_BUF - 1000));
    tell("whole or not at all", write(ends[1], block, PIPE_BUF));
    long total = 0;
    for (ssize_t n; (n = read(ends[0], block, sizeof block)) > 0; total += n) {}
    say("drained: %ld", total);
    tell("big write", write(ends[1], block, sizeof block));
    tell("big read", read(ends[0], block, sizeof block));
    tell("smaller capacity", fcntl(ends[0], F_SETPIPE_SZ, 4096));
    tell("held", write(ends[1], block, sizeof block));
    tell("too small for it", fcntl(ends[0], F_SETPIPE_SZ, 1) == 4096 ? 4096 : -1);
    close(ends[0]);
    yes("no reader: error", events(ends[1], POLLOUT) & POLLERR);
    close(ends[1]);
    pipe(ends);
    close(ends[1]);
    say("no writer: %s", events(ends[0], POLLIN) == POLLHUP ? "hung up" : "something else");

    /* Three children write records of PIPE_BUF bytes at once: none is torn. */
    enum { RECORDS = 60, WRITERS = 3 };
    pid_t children[WRITERS];
    pipe(ends);
    for (int i = 0; i < WRITERS; i++)
        if (!(children[i] = forked())) {
            memset(block, 'a' + i, PIPE_BUF);
            for (int j = 0; j < RECORDS; j++)
                if (write(ends[1], block, PIPE_BUF) != PIPE_BUF) _exit(1);
            _exit(0);
        }
    close(ends[1]);
    int torn = 0, records = 0;
    size = 0;
    for (ssize_t n; (n = read(ends[0], block + size, PIPE_BUF - size)) > 0;)
        if ((size += n) == PIPE_BUF) {
            for (int i = 1; i < PIPE_BUF; i++) torn += block[i] != block[0];
            records++, size = 0;
        }
    say("records: %d, torn: %d, left over: %ld", records, torn, size);
    for (int i = 0; i < WRITERS; i++) reap("writer", children[i]);
    return 0;
}
