/* UDP to oneself, IPv6 to oneself, and the world that may not be there. */
#include "say.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
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

int main(void) {
    static char text[70000];
    struct sockaddr_in address = here(0), from;
    socklen_t size = sizeof from;
    int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    tell("bind", bind(a, (void *)&address, sizeof address));
    yes("port 0 becomes one", port_of(a) > 0);
    say("not bound: %d", port_of(b));
    tell("send to nobody", send(b, "x", 1, 0));
    address = here(port_of(a));
    tell("sendto", sendto(b, "first", 5, 0, (void *)&address, sizeof address));
    tell("sendto", sendto(b, "second", 6, 0, (void *)&address, sizeof address));
    yes("it has a port by then", port_of(b) > 0);
    int waiting = 0;
    ioctl(a, FIONREAD, &waiting);
    say("FIONREAD: %d", waiting);
    tell("recvfrom", recvfrom(a, text, 64, 0, (void *)&from, &size));
    yes("from b", ntohs(from.sin_port) == port_of(b));
    tell("cut", recv(a, text, 3, 0));
    tell("the rest is lost", recv(a, text, 3, MSG_DONTWAIT));
    address = here(port_of(b));
    tell("an empty one", sendto(a, "", 0, 0, (void *)&address, sizeof address));
    struct pollfd readable = {b, POLLIN};
    tell("poll", poll(&readable, 1, 1000));
    tell("recv", recv(b, text, sizeof text, 0));
    tell("no more", recv(b, text, sizeof text, 0));

    /* Connected: only its peer is heard. */
    int c = socket(AF_INET, SOCK_DGRAM, 0);
    address = here(port_of(a));
    tell("connect", connect(b, (void *)&address, sizeof address));
    address = here(port_of(b));
    sendto(c, "stranger", 8, 0, (void *)&address, sizeof address);
    sendto(a, "friend", 6, 0, (void *)&address, sizeof address);
    poll(&readable, 1, 1000);
    tell("recv", recv(b, text, sizeof text, 0));
    tell("no stranger", recv(b, text, sizeof text, 0));
    tell("send", send(b, "known", 5, 0));
    tell("recv", recv(a, text, sizeof text, 0));
    tell("too long", sendto(c, text, 70000, 0, (void *)&address, sizeof address));
    tell("bind of a taken one", bind(c, (void *)&address, sizeof address));
    struct timeval soon = {0, 10000};
    setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon);
    int64_t start = now_ns(CLOCK_MONOTONIC);
    tell("timeout", recv(a, text, 1, 0));
    yes("it waited", now_ns(CLOCK_MONOTONIC) - start >= 10000000);

    /* sendmmsg and recvmmsg. */
    struct iovec parts[3] = {{"1", 1}, {"22", 2}, {"333", 3}};
    struct mmsghdr many[3] = {{{.msg_iov = &parts[0], .msg_iovlen = 1}},
                              {{.msg_iov = &parts[1], .msg_iovlen = 1}},
                              {{.msg_iov = &parts[2], .msg_iovlen = 1}}};
    tell("sendmmsg", sendmmsg(b, many, 3, 0));
    char room[3][8];
    struct iovec rooms[3] = {{room[0], 8}, {room[1], 8}, {room[2], 8}};
    for (int i = 0; i < 3; i++) many[i] = (struct mmsghdr){{.msg_iov = &rooms[i], .msg_iovlen = 1}};
    tell("recvmmsg", recvmmsg(a, many, 3, MSG_DONTWAIT, 0));
    say("lengths: %u %u %u", many[0].msg_len, many[1].msg_len, many[2].msg_len);

    /* IPv6, where the system has it. */
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int server = socket(AF_INET6, SOCK_STREAM, 0), client;
    if (server < 0 || bind(server, (void *)&six, sizeof six))
        say("IPv6: works or is not there");
    else {
        listen(server, 1);
        size = sizeof six;
        getsockname(server, (void *)&six, &size);
        client = socket(AF_INET6, SOCK_STREAM, 0);
        int ok = !connect(client, (void *)&six, sizeof six);
        int peer = accept(server, 0, 0), only = 1;
        ok &= setsockopt(server, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only) == -1 && errno == EINVAL;
        ok &= write(client, "six", 3) == 3 && read(peer, text, 8) == 3;
        say("IPv6: %s", ok ? "works or is not there" : "does not work");
    }

    /* No machine is at the address of all, whatever network this one is in. */
    struct sockaddr_in outside = {
        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_BROADCAST)};
    client = socket(AF_INET, SOCK_STREAM, 0);
    say("outside: %s", connect(client, (void *)&outside, sizeof outside) ? "refused" : "connected");
    say("inet_pton: %d %d", inet_pton(AF_INET, "127.0.0.1", text), inet_pton(AF_INET, "127.0.0.256", text));
    return 0;
}
