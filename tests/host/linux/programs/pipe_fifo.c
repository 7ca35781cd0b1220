/* Pipes with a name: opening waits for the other side, unless told not to. */
#include "say.h"
#include <sys/stat.h>

int main(void) {
    char buffer[64];
    struct stat status;
    umask(022);
    tell("mkfifo", mkfifo("fifo", 0666));
    tell("mkfifo of what is there", mkfifo("fifo", 0666));
    tell("mkfifo nowhere", mkfifo("no/fifo", 0666));
    tell("stat", stat("fifo", &status));
    yes("is a fifo", S_ISFIFO(status.st_mode));
    say("mode: %o", status.st_mode & 0777);
    tell("open for writing without reader", open("fifo", O_WRONLY | O_NONBLOCK));
    int reader = open("fifo", O_RDONLY | O_NONBLOCK);
    yes("open for reading without writer", reader >= 0);
    tell("read without writer", read(reader, buffer, 1));
    int writer = open("fifo", O_WRONLY | O_NONBLOCK);
    yes("open for writing with reader", writer >= 0);
    tell("read of nothing", read(reader, buffer, 1));
    tell("write", write(writer, "named", 5));
    tell("read", read(reader, buffer, sizeof buffer));
    tell("lseek", lseek(reader, 0, SEEK_SET));
    close(writer);
    tell("read at the end", read(reader, buffer, 1));
    close(reader);

    pid_t child = forked();
    if (!child) {
        int out = open("fifo", O_WRONLY);
        write(out, "from the child", 14);
        _exit(out < 0);
    }
    int in = open("fifo", O_RDONLY);
    ssize_t size = read(in, buffer, sizeof buffer);
    say("got: %.*s", (int)(size > 0 ? size : 0), buffer);
    tell("end", read(in, buffer, sizeof buffer));
    close(in);
    reap("child", child);

    /* The other way round: here the reader comes last. */
    child = forked();
    if (!child) {
        sleep_ms(20);
        int in = open("fifo", O_RDONLY);
        ssize_t n, total = 0;
        while ((n = read(in, buffer, sizeof buffer)) > 0) total += n;
        _exit(total);
    }
    int out = open("fifo", O_WRONLY);
    write(out, "1234567", 7);
    close(out);
    reap("child that read 7 bytes", child);

    int both = open("fifo", O_RDWR); /* Linux lets one process be both sides */
    yes("open for both", both >= 0);
    tell("write", write(both, "abc", 3));
    tell("read", read(both, buffer, 64));
    close(both);
    tell("unlink", unlink("fifo"));
    tell("stat", stat("fifo", &status));
    return 0;
}
