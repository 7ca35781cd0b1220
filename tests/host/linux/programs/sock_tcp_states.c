/* TCP: ports that are taken, connecting without waiting, resets, poll, and shutdown by others. */
#include "say.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

static struct sockaddr_in here(int port) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return address;
}

static int port_of(int fd) {
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    return getsockname(fd, (void *)&address, &size) ? -1 : ntohs(address.sin_port);
}

static long bound(int fd, int port) {
    struct sockaddr_in address = here(port);
    return bind(fd, (void *)&address, sizeof address);
}

static long connected(int fd, int port) {
    struct sockaddr_in address = here(port);
    return connect(fd, (void *)&address, sizeof address);
}

static int tcp(int flags) { return socket(AF_INET, SOCK_STREAM | flags, 0); }
static void events(const char *what, int fd, int wanted) {
    struct pollfd one = {fd, wanted};
    poll(&one, 1, 1000);
    say("%s:%s%s%s%s", what, one.revents & POLLIN ? " IN" : "", one.revents & POLLOUT ? " OUT" : "",
        one.revents & POLLERR ? " ERR" : "", one.revents & POLLHUP ? " HUP" : "");
}

int main(void) {
    char c;
    int server = tcp(0), value, error = -1;
    socklen_t size = sizeof error;
    int on = 1;
    /* Both, the one that was and the one to come, have to allow that. */
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    bound(server, 0), listen(server, 4);
    int port = port_of(server);
    tell("EADDRINUSE", bound(tcp(0), port));
    int reuse = tcp(0);
    tell("SO_REUSEADDR", setsockopt(reuse, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    tell("does not help while one listens", bound(reuse, port));
    tell("bind twice", bound(server, port + 1));
    struct sockaddr_in other = here(port);
    other.sin_addr.s_addr = htonl(0x01020304);
    tell("an address that is not here", bind(tcp(0), (void *)&other, sizeof other));

    int fd = tcp(SOCK_NONBLOCK);
    long result = connected(fd, port);
    yes("connect, not waiting", result == 0 || errno == EINPROGRESS);
    events("then poll", fd, POLLOUT);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    say("SO_ERROR: %d", error);
    result = connected(fd, port);
    yes("connect again", result == 0 || errno == EISCONN);
    tell("and again", connected(fd, port));
    int peer = accept(server, 0, 0);
    tell("nothing to read", recv(fd, &c, 1, 0));
    events("writable", fd, POLLIN | POLLOUT);
    write(peer, "x", 1);
    events("readable", fd, POLLIN);
    read(fd, &c, 1);

    /* Closing with data unread resets. */
    write(fd, "unread", 6);
    events("data at the peer", peer, POLLIN);
    close(peer);
    events("reset", fd, POLLIN);
    tell("read", read(fd, &c, 1));
    tell("the error is told once", read(fd, &c, 1));
    close(fd);

    int closed = tcp(0);
    bound(closed, 0);
    int nobody = port_of(closed);
    close(closed);
    fd = tcp(SOCK_NONBLOCK);
    result = connected(fd, nobody);
    if (result == -1 && errno == EINPROGRESS) {
        events("refused", fd, POLLOUT);
        size = sizeof error;
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
        errno = error;
    } else
        say("refused: OUT ERR HUP");
    say("SO_ERROR: %s", error_name(errno));
    tell("connect, waiting", connected(tcp(0), nobody));

    /* SO_LINGER of 0 resets too. */
    fd = tcp(0);
    connected(fd, port);
    peer = accept(server, 0, 0);
    struct linger linger = {1, 0};
    tell("SO_LINGER", setsockopt(peer, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    close(peer);
    tell("read", read(fd, &c, 1));
    close(fd);

    /* A closed port may be bound again at once with SO_REUSEADDR, though the old ones linger. */
    fd = tcp(0);
    connected(fd, port);
    peer = accept(server, 0, 0);
    close(peer), close(fd), close(server);
    tell("bound again", bound(reuse, port));
    tell("listen", listen(reuse, 1));

    /* accept waits, in a child that is told by the parent's connect. */
    pid_t child = forked();
    if (!child) {
        int got = accept(reuse, 0, 0);
        _exit(read(got, &c, 1) == 1 ? c : 0);
    }
    sleep_ms(5);
    fd = tcp(0);
    tell("connect", connected(fd, port));
    write(fd, "\x2a", 1);
    reap("child", child);
    tell("its end", read(fd, &c, 1));
    struct timeval soon = {0, 10000};
    setsockopt(reuse, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon);
    tell("accept with a timeout", accept(reuse, 0, 0));
    child = forked();
    if (!child) {
        sleep_ms(8);
        shutdown(reuse, SHUT_RD);
        _exit(0);
    }
    soon.tv_usec = 0, soon.tv_sec = 2;
    setsockopt(reuse, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon);
    tell("accept that is shut down", accept(reuse, 0, 0));
    reap("child", child);
    return 0;
}
