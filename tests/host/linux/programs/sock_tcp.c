/* TCP to oneself: a server with ten clients at once, ends, and errors. */
#include "say.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
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

static int listening(int backlog) {
    struct sockaddr_in any = here(0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fd, (void *)&any, sizeof any) || listen(fd, backlog)) return tell("listen", -1), -1;
    return fd;
}

static int to(int port) {
    struct sockaddr_in address = here(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (void *)&address, sizeof address)) return close(fd), -1;
    return fd;
}

static int option(int fd, int level, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    return getsockopt(fd, level, name, &value, &size) ? -1 : value;
}

static int port, answers;
static void *client(void *number) {
    int fd = to(port), value = (int)(long)number, answer = 0;
    if (fd < 0) return 0;
    send(fd, &value, sizeof value, 0);
    if (recv(fd, &answer, sizeof answer, MSG_WAITALL) == 4 && answer == value * value)
        __sync_fetch_and_add(&answers, 1);
    close(fd);
    return 0;
}

int main(void) {
    char text[256] = "";
    int server = listening(16), value;
    if (server < 0) return 1;
    port = port_of(server);
    yes("port 0 becomes one", port > 0);
    pthread_t threads[10];
    for (long i = 0; i < 10; i++) pthread_create(&threads[i], 0, client, (void *)(i + 2));
    for (int i = 0; i < 10; i++) {
        int fd = accept(server, 0, 0);
        recv(fd, &value, sizeof value, MSG_WAITALL);
        value *= value;
        send(fd, &value, sizeof value, 0);
        close(fd);
    }
    for (int i = 0; i < 10; i++) pthread_join(threads[i], 0);
    say("threads answered: %d", answers);
    pid_t children[10];
    for (int i = 0; i < 10; i++)
        if (!(children[i] = forked())) {
            client((void *)(long)(i + 2));
            _exit(answers - 10);
        }
    for (int i = 0; i < 10; i++) {
        int fd = accept(server, 0, 0);
        recv(fd, &value, sizeof value, MSG_WAITALL);
        value *= value;
        send(fd, &value, sizeof value, 0);
        close(fd);
    }
    int good = 0, status;
    for (int i = 0; i < 10; i++)
        waitpid(children[i], &status, 0), good += WIFEXITED(status) && WEXITSTATUS(status) == 1;
    say("processes answered: %d", good);

    int fd = to(port);
    struct sockaddr_in peer_address;
    socklen_t size = sizeof peer_address;
    int peer = accept(server, (void *)&peer_address, &size);
    yes("accept tells who", ntohs(peer_address.sin_port) == port_of(fd) && size == sizeof peer_address);
    size = sizeof peer_address;
    getpeername(fd, (void *)&peer_address, &size);
    yes("getpeername",
        ntohs(peer_address.sin_port) == port && ntohl(peer_address.sin_addr.s_addr) == INADDR_LOOPBACK);
    say("SO_ERROR %d, TCP_NODELAY %d, SO_KEEPALIVE %d", option(fd, SOL_SOCKET, SO_ERROR),
        option(fd, IPPROTO_TCP, TCP_NODELAY), option(fd, SOL_SOCKET, SO_KEEPALIVE));
    value = 1;
    tell("set TCP_NODELAY", setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, sizeof value));
    say("TCP_NODELAY: %d", !!option(fd, IPPROTO_TCP, TCP_NODELAY));
    yes("SO_DOMAIN and SO_PROTOCOL",
        option(fd, SOL_SOCKET, SO_DOMAIN) == AF_INET && option(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP);
    tell("unknown option", setsockopt(fd, SOL_SOCKET, 9999, &value, sizeof value));
    write(fd, "hello", 5), write(fd, " world", 6);
    tell("two writes, one stream", recv(peer, text, 11, MSG_WAITALL));
    say("text: %s", text);
    tell("shutdown", shutdown(fd, SHUT_WR));
    tell("end", read(peer, text, 1));
    write(peer, "still", 5);
    tell("other way", read(fd, text, 64));
    close(peer);
    tell("end", read(fd, text, 1));
    close(fd);

    /* More than buffers hold: both have to take turns. */
    pid_t child = forked();
    if (!child) {
        static char block[65536];
        int mine = to(port);
        for (int i = 0; i < 32; i++)
            for (size_t sent = 0; sent < sizeof block;) {
                ssize_t n = send(mine, block, sizeof block - sent, 0);
                if (n <= 0) _exit(1);
                sent += n;
            }
        _exit(0);
    }
    peer = accept(server, 0, 0);
    long total = 0;
    static char chunk[40000];
    for (ssize_t n; (n = read(peer, chunk, sizeof chunk)) > 0;) total += n;
    say("streamed: %ld", total);
    reap("child", child);
    close(peer);
    close(server);
    tell("nobody listens", to(port));
    tell("accept of what does not listen", accept(socket(AF_INET, SOCK_STREAM, 0), 0, 0));
    tell("send without a peer", send(socket(AF_INET, SOCK_STREAM, 0), "x", 1, MSG_NOSIGNAL));
    tell("recv without a peer", recv(socket(AF_INET, SOCK_STREAM, 0), text, 1, 0));
    return 0;
}
