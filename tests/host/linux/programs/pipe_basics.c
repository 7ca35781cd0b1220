/* What a pipe's two ends do alone: ends, flags, EOF, EPIPE, EAGAIN, and errors. */
#include "say.h"
#include <sys/ioctl.h>
#include <sys/stat.h>

static volatile int pipes;
static void broken(int signal) { pipes++; }

int main(void) {
    int ends[2], extra;
    char buffer[128];
    struct stat status;
    tell("pipe", pipe(ends));
    fstat(ends[0], &status);
    yes("is a fifo", S_ISFIFO(status.st_mode));
    say("access modes: %d %d", fcntl(ends[0], F_GETFL) & O_ACCMODE, fcntl(ends[1], F_GETFL) & O_ACCMODE);
    say("close on exec: %d %d", fcntl(ends[0], F_GETFD), fcntl(ends[1], F_GETFD));
    tell("lseek", lseek(ends[0], 0, SEEK_CUR));
    tell("pread", pread(ends[0], buffer, 1, 0));
    tell("ftruncate", ftruncate(ends[1], 0));
    tell("fsync", fsync(ends[1]));
    tell("write to the read end", write(ends[0], "x", 1));
    tell("read from the write end", read(ends[1], buffer, 1));
    tell("write of nothing", write(ends[1], "", 0));
    tell("write", write(ends[1], "hello", 5));
    int waiting = -1;
    tell("FIONREAD", ioctl(ends[0], FIONREAD, &waiting));
    say("waiting: %d", waiting);
    tell("read of 2", read(ends[0], buffer, 2));
    tell("read of the rest", read(ends[0], buffer, sizeof buffer));

    extra = dup(ends[1]);
    write(ends[1], "last", 4);
    close(ends[1]);
    tell("read with a copy of the write end", read(ends[0], buffer, sizeof buffer));
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    tell("empty, not blocking", read(ends[0], buffer, 1));
    tell("read of nothing", read(ends[0], buffer, 0));
    close(extra);
    tell("after the last close", read(ends[0], buffer, 1));
    tell("and again", read(ends[0], buffer, 1));
    close(ends[0]);

    signal(SIGPIPE, broken);
    pipe(ends);
    close(ends[0]);
    tell("write without a reader", write(ends[1], "x", 1));
    say("SIGPIPE: %d", pipes);
    signal(SIGPIPE, SIG_IGN);
    tell("again, ignored", write(ends[1], "x", 1));
    close(ends[1]);
    pid_t child = forked();
    if (!child) {
        signal(SIGPIPE, SIG_DFL);
        pipe(ends);
        close(ends[0]);
        write(ends[1], "x", 1);
        _exit(0);
    }
    reap("child that writes without a reader", child);

    tell("pipe2", pipe2(ends, O_CLOEXEC | O_NONBLOCK));
    say("close on exec: %d %d", fcntl(ends[0], F_GETFD), fcntl(ends[1], F_GETFD));
    yes("not blocking", fcntl(ends[0], F_GETFL) & fcntl(ends[1], F_GETFL) & O_NONBLOCK);
    tell("read", read(ends[0], buffer, 1));
    tell("pipe2 with an unknown flag", pipe2(ends, O_APPEND));
    tell("pipe to nowhere", pipe((int *)8));
    return 0;
}
