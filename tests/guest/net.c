/* Sockets of the network outside: `net WHAT …`. A server prints its port, and serves so many clients. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MUST(is_true) \
    do { if (!(is_true)) { printf("line %d: %s, errno %d\n", __LINE__, #is_true, errno); exit(1); } } while (0)

static struct sockaddr_in at(int port)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port)};
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return name;
}

static int bound(int kind)
{
    struct sockaddr_in name = at(0);
    socklen_t size = sizeof name;
    int fd = socket(AF_INET, kind, 0), on = 1;
    MUST(fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    MUST(!bind(fd, (void *)&name, sizeof name) && (kind == SOCK_DGRAM || !listen(fd, 64)));
    MUST(!getsockname(fd, (void *)&name, &size) && size == sizeof name && name.sin_port);
    printf("port %d\n", ntohs(name.sin_port));
    fflush(stdout);
    return fd;
}

static int connected(int port)
{
    struct sockaddr_in name = at(port), peer;
    socklen_t size = sizeof peer;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    MUST(!connect(fd, (void *)&name, sizeof name));
    MUST(!getpeername(fd, (void *)&peer, &size) && peer.sin_port == name.sin_port);
    MUST(!setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
    return fd;
}

static void http(int clients)
{
    static const char answer[] = "HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";
    int server = bound(SOCK_STREAM);
    while (clients--) {
        struct sockaddr_in peer;
        socklen_t size = sizeof peer;
        char request[4096];
        int fd = accept(server, (void *)&peer, &size), seen = 0;
        MUST(fd >= 0 && peer.sin_addr.s_addr == htonl(INADDR_LOOPBACK) && peer.sin_port);
        do {
            int got = recv(fd, request + seen, sizeof request - 1 - seen, 0);
            MUST(got > 0);
            request[seen += got] = 0;
        } while (!strstr(request, "\r\n\r\n"));
        MUST(write(fd, answer, sizeof answer - 1) == sizeof answer - 1);
        close(fd);
    }
}

static void fetch(int port)
{
    static char block[1 << 16];
    long total = 0, got;
    int fd = connected(port);
    dprintf(fd, "GET /big HTTP/1.0\r\n\r\n");
    MUST(!shutdown(fd, SHUT_WR));
    while ((got = read(fd, block, sizeof block)) > 0) total += got;
    MUST(got == 0);
    printf("%ld bytes\n", total);
}

static int served(int fd) /* echo; whether that client has gone */
{
    char part[512];
    int got = recv(fd, part, sizeof part, MSG_DONTWAIT);
    if (got > 0) MUST(send(fd, part, got, 0) == got);
    return got == 0;
}

static void poll_server(int clients)
{
    struct pollfd fds[64] = {{bound(SOCK_STREAM), POLLIN}};
    int count = 1;
    while (clients) {
        MUST(poll(fds, count, -1) > 0);
        for (int i = count - 1; i > 0; i--)
            if (fds[i].revents && served(fds[i].fd)) {
                close(fds[i].fd);
                fds[i] = fds[--count];
                clients--;
            }
        if (fds[0].revents) {
            MUST((fds[count].fd = accept(fds[0].fd, 0, 0)) >= 0);
            fds[count++].events = POLLIN;
        }
    }
    puts("all served");
}

static void epoll_server(int clients, int how)
{
    int server = bound(SOCK_STREAM), epoll = epoll_create1(0);
    struct epoll_event one = {EPOLLIN, {.fd = server}}, found[8];
    MUST(!epoll_ctl(epoll, EPOLL_CTL_ADD, server, &one));
    while (clients) {
        int count = epoll_wait(epoll, found, 8, 20000);
        MUST(count > 0);
        for (int i = 0; i < count; i++) {
            int fd = found[i].data.fd;
            if (fd == server) {
                MUST((one.data.fd = accept4(server, 0, 0, SOCK_NONBLOCK)) >= 0);
                one.events = EPOLLIN | how;
                MUST(!epoll_ctl(epoll, EPOLL_CTL_ADD, one.data.fd, &one));
            } else if (served(fd)) {
                close(fd);
                clients--;
            }
        }
    }
    puts("all served");
}

static void udp(int count)
{
    int fd = bound(SOCK_DGRAM);
    while (count--) {
        char part[64];
        struct sockaddr_in from;
        socklen_t size = sizeof from;
        int got = recvfrom(fd, part, sizeof part, MSG_PEEK | MSG_TRUNC, 0, 0);
        MUST(got == recvfrom(fd, part, sizeof part, MSG_TRUNC, (void *)&from, &size));
        MUST(sendto(fd, part, got < 64 ? got : 64, 0, (void *)&from, size) >= 0);
    }
}

static void calls(int port) /* what one connection shows of the calls */
{
    struct sockaddr_in name = at(port);
    struct timeval brief = {0, 30000};
    struct pollfd wait = {.events = POLLOUT};
    char part[64];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), value = 0;
    socklen_t size = sizeof value;
    fd_set set;

    MUST(connect(fd, (void *)&name, sizeof name) < 0 && errno == EINPROGRESS);
    wait.fd = fd;
    MUST(poll(&wait, 1, -1) == 1 && wait.revents == POLLOUT);
    MUST(!getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &size) && size == 4 && !value);
    MUST(!connect(fd, (void *)&name, sizeof name) || errno == EISCONN);
    MUST(recv(fd, part, 4, 0) < 0 && errno == EAGAIN);
    MUST(!fcntl(fd, F_SETFL, 0));
    MUST(!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &brief, sizeof brief));
    MUST(recv(fd, part, 4, 0) < 0 && errno == EAGAIN);
    brief.tv_usec = 0;
    MUST(!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &brief, sizeof brief));
    MUST(setsockopt(fd, SOL_SOCKET, 26, part, 16) < 0 && errno == ENOPROTOOPT); /* a filter: an address */
    MUST(send(fd, "echo these", 10, MSG_NOSIGNAL) == 10);
    FD_ZERO(&set);
    FD_SET(fd, &set);
    MUST(select(fd + 1, &set, 0, 0, 0) == 1 && FD_ISSET(fd, &set));
    MUST(recv(fd, part, 4, MSG_PEEK) == 4 && recv(fd, part, 10, MSG_WAITALL) == 10);
    MUST(!memcmp(part, "echo these", 10) && !ioctl(fd, FIONREAD, &value) && !value);
    MUST(!shutdown(fd, SHUT_RDWR) && read(fd, part, 4) == 0);
    signal(SIGPIPE, SIG_IGN);
    MUST(write(fd, "x", 1) < 0 && errno == EPIPE);
    close(fd);
    fd = socket(AF_INET6, SOCK_DGRAM, 0);
    MUST(fd < 0 || (getpeername(fd, (void *)&name, &size) < 0 && errno == ENOTCONN));
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    MUST(!connect(fd, (void *)&name, sizeof name));
    name.sin_family = AF_UNSPEC;
    MUST(!connect(fd, (void *)&name, sizeof name));
    MUST(send(fd, "x", 1, 0) < 0 && errno == EDESTADDRREQ);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    name = at(1);
    MUST(connect(fd, (void *)&name, sizeof name) < 0 && errno == ECONNREFUSED);
    puts("all as it should");
    fflush(stdout);
    signal(SIGPIPE, SIG_DFL);
    fd = connected(port);
    shutdown(fd, SHUT_WR);
    write(fd, "x", 1);
    puts("still here");
}

static volatile int ticks;

static void *tick(void *unused)
{
    struct timespec brief = {0, 10000000};
    for (;;) nanosleep(&brief, 0), ticks++;
}

static void input(void)
{
    struct pollfd wait = {0, POLLIN};
    pthread_t thread;
    char line[64];
    int got, before;
    MUST(!pthread_create(&thread, 0, tick, 0));
    while (!ticks) MUST(poll(&wait, 1, 50) == 0);
    printf("nothing yet\n");
    fflush(stdout);
    before = ticks;
    MUST((got = read(0, line, sizeof line)) == 5); /* after a while */
    MUST(ticks > before);
    MUST(poll(&wait, 1, -1) == 1 && wait.revents & (POLLIN | POLLHUP) && read(0, line, 5) == 0);
    puts("the end");
    exit(0);
}

static void *receive(void *fd)
{
    char byte;
    MUST(recv((int)(long)fd, &byte, 1, 0) == 1);
    ticks = 1;
    return 0;
}

static void busy(void) /* computes until another thread has received something */
{
    long fd = bound(SOCK_DGRAM);
    pthread_t thread;
    MUST(!pthread_create(&thread, 0, receive, (void *)fd));
    while (!ticks) ;
    puts("received");
}

int main(int argc, char **argv)
{
    const char *what = argv[1];
    int number = argc > 2 ? atoi(argv[2]) : 0, fd;
    struct epoll_event one = {EPOLLIN};
    if (!strcmp(what, "http")) http(number);
    if (!strcmp(what, "fetch")) fetch(number);
    if (!strcmp(what, "poll")) poll_server(number);
    if (!strcmp(what, "epoll")) epoll_server(number, 0);
    if (!strcmp(what, "edges")) epoll_server(number, EPOLLET);
    if (!strcmp(what, "udp")) udp(number);
    if (!strcmp(what, "calls")) calls(number);
    if (!strcmp(what, "input")) input();
    if (!strcmp(what, "busy")) busy();
    if (!strcmp(what, "accept")) accept(bound(SOCK_STREAM), 0, 0);
    if (!strcmp(what, "receive")) recv(bound(SOCK_DGRAM), &one, 1, 0);
    if (!strcmp(what, "wait")) {
        fd = epoll_create1(0);
        epoll_ctl(fd, EPOLL_CTL_ADD, bound(SOCK_STREAM), &one);
        epoll_wait(fd, &one, 1, -1);
    }
    if (!strcmp(what, "look")) {
        struct pollfd wait = {bound(SOCK_DGRAM), POLLIN};
        poll(&wait, 1, -1);
    }
    if (!strcmp(what, "out")) {
        struct sockaddr_in name = at(80);
        name.sin_addr.s_addr = htonl(0xC0000201); /* 192.0.2.1, which is nobody's */
        MUST(connect(socket(AF_INET, SOCK_STREAM, 0), (void *)&name, sizeof name) < 0 && errno == ENETUNREACH);
    }
    return 0;
}
