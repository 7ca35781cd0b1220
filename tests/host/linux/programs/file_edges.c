/* Errors and effects at the edges of calls for files, locks and sockets. */
#include "say.h"
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static int lock(int file, int command, int type, off_t start, off_t size) {
    struct flock wanted = {.l_type = type, .l_start = start, .l_len = size};
    return fcntl(file, command, &wanted);
}

int main(void) {
    struct stat status;
    int value, file = open("file", O_CREAT | O_RDWR, 0600), ends[2], more[2];
    char byte;
    tell("O_DIRECTORY and O_CREAT", open("new", O_DIRECTORY | O_CREAT, 0600));
    tell("made", access("new", F_OK));
    tell("truncate an open folder", ftruncate(open(".", O_RDONLY), 0));
    tell("write nothing to a full device", write(open("/dev/full", O_WRONLY), "", 0));

    write(file, "0123456789", 10);
    lseek(file, 3, SEEK_SET);
    tell("FIONREAD", ioctl(file, FIONREAD, &value));
    say("left %d", value);
    pipe(ends);
    write(ends[1], "x", 1);
    tell("splice to the end", splice(ends[0], 0, open("file", O_WRONLY | O_APPEND), 0, 1, 0));
    tell("it is still there", read(ends[0], &byte, 1));

    chmod("file", 06711);
    tell("chown", chown("file", 0, 0));
    stat("file", &status);
    say("mode %o", status.st_mode);
    chmod("file", 06701);
    chown("file", -1, -1);
    stat("file", &status);
    say("mode %o", status.st_mode);

    tell("lock before the start", lock(file, F_SETLK, F_WRLCK, -1, 5));
    tell("lock beyond the end", lock(file, F_SETLK, F_WRLCK, INT64_MAX, 10));

    /* Who was just given a lock does not wait for it any more: no deadlock. */
    pipe(more);
    pid_t child = forked();
    if (!child) {
        lock(file, F_SETLK, F_WRLCK, 0, 1);
        write(ends[1], "x", 1);
        read(more[0], &byte, 1);
        tell("child locks", lock(file, F_SETLKW, F_WRLCK, 5, 1));
        _exit(0);
    }
    read(ends[0], &byte, 1);
    lock(file, F_SETLK, F_WRLCK, 5, 1);
    write(more[1], "x", 1);
    sleep_ms(50);
    tell("parent would wait", lock(file, F_SETLKW, F_WRLCK, 0, 1));
    lock(file, F_SETLK, F_UNLCK, 5, 1);
    int locked = lock(file, F_SETLKW, F_WRLCK, 0, 1);
    reap("child", child);
    tell("parent locks", locked);

    struct sockaddr_un name = {AF_UNIX, "name"};
    int socket_file = socket(AF_UNIX, SOCK_STREAM, 0);
    tell("bind", bind(socket_file, (void *)&name, sizeof name));
    tell("bind to the same name", bind(socket_file, (void *)&name, sizeof name));
    strcpy(name.sun_path, "other");
    tell("bind to another name", bind(socket_file, (void *)&name, sizeof name));

    tell("personality", personality(0x0040000));
    tell("personality", personality(0xffffffff));
    return 0;
}
