/* splice that waits for room has not taken what is still in the pipe: somebody else may read it. */
#include "say.h"
#include <poll.h>
#include <sys/socket.h>

int main(void) {
    static char text[60000], got[70000];
    int source[2], target[2];
    pipe(source), pipe(target);
    fcntl(target[1], F_SETPIPE_SZ, 4096);
    memset(text, 'x', sizeof text);
    fcntl(source[1], F_SETPIPE_SZ, 1 << 20);
    write(source[1], text, sizeof text);
    pid_t pid = forked();
    if (!pid) {
        long total = 0, moved;
        close(source[1]);
        while ((moved = splice(source[0], 0, target[1], 0, sizeof text, 0)) > 0) total += moved;
        _exit(total == 4096 ? 0 : 1);
    }
    close(target[1]);
    sleep_ms(20);
    long drained = read(source[0], got, sizeof got);
    close(source[1]);
    long rest = 0, size;
    while ((size = read(target[0], got, sizeof got)) > 0) rest += size;
    say("drained %ld, moved %ld", drained, rest);
    reap("child", pid);

    int sockets[2], small = 4096;
    pipe(source);
    socketpair(AF_UNIX, SOCK_STREAM, 0, sockets);
    setsockopt(sockets[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    write(source[1], text, sizeof text);
    pid = forked();
    if (!pid) {
        close(source[1]), close(sockets[1]);
        while (splice(source[0], 0, sockets[0], 0, sizeof text, 0) > 0) {}
        _exit(0);
    }
    close(source[1]), close(sockets[0]);
    sleep_ms(20);
    drained = read(source[0], got, sizeof got);
    rest = 0;
    while ((size = read(sockets[1], got, sizeof got)) > 0) rest += size;
    yes("nothing twice, nothing lost", drained + rest == sizeof text);
    reap("child", pid);
    return 0;
}
