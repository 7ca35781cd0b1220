/* TCP and UDP over the loopback interface. */
#include "../host/linux/programs/say.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>

static int events_of(int fd) {
    struct pollfd one = {fd, POLLIN | POLLOUT | POLLRDHUP};
    poll(&one, 1, 0);
    return one.revents;
}

static void take(const char *what, int fd, int flags) {
    char text[64] = "";
    long got = recv(fd, text, sizeof text - 1, flags);
    if (got == -1) say("%s: -1 %s", what, error_name(errno));
    else say("%s: %ld '%s'", what, got, text);
}

static struct sockaddr_in v4(const char *host, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, host, &address.sin_addr);
    return address;
}

static struct sockaddr_in6 v6(const char *host, int port) {
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    inet_pton(AF_INET6, host, &address.sin6_addr);
    return address;
}

static int bind4(int fd, const char *host, int port) {
    struct sockaddr_in address = v4(host, port);
    return bind(fd, (void *)&address, sizeof address);
}

static int connect4(int fd, const char *host, int port) {
    struct sockaddr_in address = v4(host, port);
    return connect(fd, (void *)&address, sizeof address);
}

static int bind6(int fd, const char *host, int port) {
    struct sockaddr_in6 address = v6(host, port);
    return bind(fd, (void *)&address, sizeof address);
}

static int connect6(int fd, const char *host, int port) {
    struct sockaddr_in6 address = v6(host, port);
    return connect(fd, (void *)&address, sizeof address);
}

static int port_of(int fd) {
    struct sockaddr_in6 address;
    socklen_t size = sizeof address;
    getsockname(fd, (void *)&address, &size);
    return ntohs(address.sin6_port);
}

static void show(const char *what, struct sockaddr_storage *address, unsigned size, int known) {
    char host[64] = "";
    int port = 0;
    if (address->ss_family == AF_INET) {
        struct sockaddr_in *one = (void *)address;
        inet_ntop(AF_INET, &one->sin_addr, host, sizeof host), port = ntohs(one->sin_port);
    } else {
        struct sockaddr_in6 *one = (void *)address;
        inet_ntop(AF_INET6, &one->sin6_addr, host, sizeof host), port = ntohs(one->sin6_port);
    }
    if (known && port == known) say("%s: %u %s known port", what, size, host);
    else say("%s: %u %s %s", what, size, host, port ? "some port" : "no port");
}

static void show_name(const char *what, int fd, int peer, int known) {
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    if (peer ? getpeername(fd, (void *)&address, &size) : getsockname(fd, (void *)&address, &size)) say("%s: -1 %s", what, error_name(errno));
    else show(what, &address, size, known);
}

static int option(int fd, int level, int number) {
    int value = -1;
    socklen_t size = sizeof value;
    if (getsockopt(fd, level, number, &value, &size)) return -errno;
    return value;
}

static int set(int fd, int level, int number, int value) { return setsockopt(fd, level, number, &value, sizeof value); }

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    char text[70000] = {0};
    int on = 1, c, d;
    tell("protocol", socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
    tell("packets", socket(AF_INET, SOCK_SEQPACKET, 0));

    /* TCP */
    int server = socket(AF_INET, SOCK_STREAM, 0);
    say("new %#x", events_of(server));
    show_name("no name", server, 0, 0), show_name("no peer", server, 1, 0);
    tell("receive", recv(server, text, 1, 0)), tell("send", send(server, "x", 1, 0));
    tell("accept", accept(server, 0, 0)), tell("shutdown", shutdown(server, SHUT_WR));
    close(server), server = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in six = v4("127.0.0.1", 0);
    six.sin_family = AF_INET6;
    tell("other family", bind(server, (void *)&six, sizeof six));
    tell("short", bind(server, (void *)&six, 8));
    tell("bind", bind4(server, "127.0.0.1", 0)), tell("twice", bind4(server, "127.0.0.1", 0));
    int port = port_of(server);
    show_name("name", server, 0, port);
    tell("nobody listens", connect4(socket(AF_INET, SOCK_STREAM, 0), "127.0.0.1", port));
    tell("in use", bind4(socket(AF_INET, SOCK_STREAM, 0), "127.0.0.1", port));
    tell("in use by all", bind4(socket(AF_INET, SOCK_STREAM, 0), "0.0.0.0", port));
    tell("another address", bind4(socket(AF_INET, SOCK_STREAM, 0), "127.0.0.2", port));
    tell("listen", listen(server, 5));
    say("listening %#x, %d", events_of(server), option(server, SOL_SOCKET, SO_ACCEPTCONN));
    int client = socket(AF_INET, SOCK_STREAM, 0);
    tell("connect", connect4(client, "127.0.0.1", port));
    say("ready %#x %#x", events_of(server), events_of(client));
    tell("again", connect4(client, "127.0.0.1", port)), tell("connect of a listener", connect4(server, "127.0.0.1", port));
    struct sockaddr_storage from;
    socklen_t size = sizeof from;
    c = accept(server, (void *)&from, &size);
    show("from", &from, size, port_of(client));
    show_name("own", c, 0, port), show_name("peer", c, 1, port_of(client)), show_name("peer", client, 1, port);
    write(client, "hello", 5), write(client, " there", 6);
    int waiting = 0;
    ioctl(c, FIONREAD, &waiting);
    say("waiting %d, ready %#x", waiting, events_of(c));
    take("peek", c, MSG_PEEK), take("take", c, 0), take("nothing", c, MSG_DONTWAIT);
    size = sizeof from;
    write(client, "x", 1), tell("recvfrom", recvfrom(c, text, 9, 0, (void *)&from, &size)), say("%u", (unsigned)size);
    write(client, "thrown", 6), tell("thrown away", recv(c, 0, 6, MSG_TRUNC));
    tell("half close", shutdown(client, SHUT_WR));
    say("ready %#x %#x", events_of(client), events_of(c));
    take("end", c, 0), write(c, "still", 5), take("still", client, 0), tell("write", write(client, "x", 1));
    close(c);
    say("both closed %#x", events_of(client)), take("end", client, 0);
    close(client);

    /* Broken connections. */
    client = socket(AF_INET, SOCK_STREAM, 0), connect4(client, "127.0.0.1", port), c = accept(server, 0, 0);
    write(client, "unread", 6), write(c, "answer", 6);
    close(c);
    say("reset %#x", events_of(client)), take("what came before", client, 0), take("reset", client, 0), take("then", client, 0);
    tell("write", write(client, "x", 1)), close(client);
    client = socket(AF_INET, SOCK_STREAM, 0), connect4(client, "127.0.0.1", port), c = accept(server, 0, 0);
    close(c);
    say("closed %#x", events_of(client)), tell("first write", write(client, "x", 1)), sleep_ms(5);
    say("closed %#x", events_of(client)), tell("second", write(client, "x", 1)), take("end", client, 0), close(client);
    client = socket(AF_INET, SOCK_STREAM, 0), connect4(client, "127.0.0.1", port), c = accept(server, 0, 0);
    struct linger linger = {1, 0};
    setsockopt(c, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), close(c);
    say("lingers not %#x", events_of(client)), say("error %d", option(client, SOL_SOCKET, SO_ERROR) == ECONNRESET), say("error %d", option(client, SOL_SOCKET, SO_ERROR));
    take("end", client, 0), close(client);
    client = socket(AF_INET, SOCK_STREAM, 0), connect4(client, "127.0.0.1", port), close(server);
    sleep_ms(2), say("not accepted %#x", events_of(client)), take("reset", client, 0), close(client);

    /* Without waiting. */
    server = socket(AF_INET, SOCK_STREAM, 0);
    tell("listen without a name", listen(server, 0));
    port = port_of(server);
    show_name("name", server, 0, port);
    client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    tell("connect", connect4(client, "127.0.0.1", port));
    struct pollfd one = {client, POLLOUT};
    tell("poll", poll(&one, 1, 1000)), say("%#x error %d", one.revents, option(client, SOL_SOCKET, SO_ERROR));
    tell("then", connect4(client, "127.0.0.1", port)), tell("then", connect4(client, "127.0.0.1", port));
    c = accept(server, 0, 0), close(client), close(c), close(server);
    client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    tell("nobody listens", connect4(client, "127.0.0.1", port));
    one.fd = client;
    tell("poll", poll(&one, 1, 1000)), say("%#x %#x", one.revents, events_of(client));
    say("error %d", option(client, SOL_SOCKET, SO_ERROR) == ECONNREFUSED), close(client);
    client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    connect4(client, "127.0.0.1", port), sleep_ms(2);
    tell("refused", connect4(client, "127.0.0.1", port)), close(client);

    /* A child that waits in accept. */
    server = socket(AF_INET, SOCK_STREAM, 0), bind4(server, "0.0.0.0", 0), listen(server, 1), port = port_of(server);
    pid_t child = forked();
    if (!child) {
        c = accept(server, 0, 0);
        char part[100];
        long got, all = 0;
        while ((got = read(c, part, sizeof part)) > 0) all += got, write(c, part, got);
        _exit(all == 30000 ? 3 : 4);
    }
    sleep_ms(3);
    client = socket(AF_INET, SOCK_STREAM, 0);
    tell("to any address", connect4(client, "0.0.0.0", port)), show_name("peer", client, 1, port);
    long all = 0;
    for (int i = 0; i < 300; i++) write(client, text, 100), all += recv(client, text, 100, MSG_WAITALL);
    say("%ld came back", all), shutdown(client, SHUT_WR), take("end", client, 0);
    reap("child", child), close(client), close(server);
    int s1 = socket(AF_INET, SOCK_STREAM, 0), s2 = socket(AF_INET, SOCK_STREAM, 0);
    set(s1, SOL_SOCKET, SO_REUSEADDR, 1), set(s2, SOL_SOCKET, SO_REUSEADDR, 1);
    bind4(s1, "127.0.0.1", 0), tell("reuse", bind4(s2, "127.0.0.1", port_of(s1)));
    tell("listen", listen(s1, 1)), tell("the other", listen(s2, 1)), close(s1), close(s2);
    s1 = socket(AF_INET, SOCK_STREAM, 0), s2 = socket(AF_INET, SOCK_STREAM, 0);
    set(s1, SOL_SOCKET, SO_REUSEPORT, 1), set(s2, SOL_SOCKET, SO_REUSEPORT, 1);
    bind4(s1, "127.0.0.1", 0), tell("reuse of a port", bind4(s2, "127.0.0.1", port_of(s1))), tell("listen", listen(s1, 1)), tell("both", listen(s2, 1));

    /* IPv6 */
    server = socket(AF_INET6, SOCK_STREAM, 0);
    tell("bind", bind6(server, "::", 0)), listen(server, 5), port = port_of(server);
    client = socket(AF_INET6, SOCK_STREAM, 0), tell("connect", connect6(client, "::1", port)), c = accept(server, 0, 0);
    show_name("peer", c, 1, 0), show_name("own", c, 0, port), close(c), close(client);
    client = socket(AF_INET, SOCK_STREAM, 0), tell("by IPv4", connect4(client, "127.0.0.1", port)), c = accept(server, 0, 0);
    show_name("peer", c, 1, 0), show_name("own", c, 0, port), close(c), close(client);
    client = socket(AF_INET6, SOCK_STREAM, 0), tell("mapped", connect6(client, "::ffff:127.0.0.1", port)), show_name("peer", client, 1, port), close(client);
    tell("too late", set(server, IPPROTO_IPV6, IPV6_V6ONLY, 1));
    tell("IPv4, too", bind4(socket(AF_INET, SOCK_STREAM, 0), "0.0.0.0", port)), close(server);
    server = socket(AF_INET6, SOCK_STREAM, 0), tell("only IPv6", set(server, IPPROTO_IPV6, IPV6_V6ONLY, 1)), bind6(server, "::", 0), listen(server, 5), port = port_of(server);
    client = socket(AF_INET, SOCK_STREAM, 0), tell("by IPv4", connect4(client, "127.0.0.1", port));
    tell("IPv4 by itself", bind4(client, "0.0.0.0", port));

    /* UDP */
    int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
    say("new %#x", events_of(a));
    tell("no destination", send(a, "x", 1, 0)), bind4(b, "127.0.0.1", 0), port = port_of(b);
    tell("in use", bind4(socket(AF_INET, SOCK_DGRAM, 0), "127.0.0.1", port));
    struct sockaddr_in to = v4("127.0.0.1", port);
    tell("send", sendto(a, "one", 3, 0, (void *)&to, sizeof to)), tell("empty", sendto(a, "", 0, 0, (void *)&to, sizeof to));
    show_name("made up", a, 0, 0);
    size = sizeof from, tell("from", recvfrom(b, text, 9, 0, (void *)&from, &size)), show("from", &from, size, port_of(a));
    tell("empty", recv(b, text, 9, 0)), tell("nothing", recv(b, text, 9, MSG_DONTWAIT));
    tell("connect", connect(a, (void *)&to, sizeof to)), show_name("own", a, 0, 0), show_name("peer", a, 1, port);
    tell("send", send(a, "0123456789", 10, 0)), tell("cut off", recv(b, text, 4, MSG_TRUNC)), tell("too large", send(a, text, 66000, 0));
    tell("the largest", send(a, text, 65507, 0)), tell("came", recv(b, text, sizeof text, 0));
    int third = socket(AF_INET, SOCK_DGRAM, 0);
    to = v4("127.0.0.1", port_of(a)), sendto(third, "not for it", 10, 0, (void *)&to, sizeof to), tell("of others", recv(a, text, 20, MSG_DONTWAIT));
    sendto(b, "back", 4, 0, (void *)&to, sizeof to), take("of the peer", a, 0);
    close(b), tell("lost", send(a, "x", 1, 0)), sleep_ms(2), say("ready %#x", events_of(a)), take("refused", a, MSG_DONTWAIT), take("once", a, MSG_DONTWAIT);
    tell("lost", send(a, "x", 1, 0)), sleep_ms(2), tell("refused", send(a, "x", 1, 0));
    to.sin_family = AF_UNSPEC, tell("disconnect", connect(a, (void *)&to, sizeof to)), show_name("no peer", a, 1, 0);
    to = v4("127.0.0.1", 0), tell("port 0", sendto(a, "x", 1, 0, (void *)&to, sizeof to));
    to = v4("255.255.255.255", 9), tell("broadcast", sendto(a, "x", 1, 0, (void *)&to, sizeof to));
    tell("unconnected shutdown", shutdown(third, SHUT_RD));
    b = socket(AF_INET, SOCK_DGRAM, 0), bind4(b, "0.0.0.0", 0), to = v4("127.0.0.1", port_of(b));
    struct iovec vectors[3] = {{"ab", 2}, {"cd", 2}, {"e", 1}};
    struct mmsghdr messages[3] = {0};
    for (int i = 0; i < 3; i++) messages[i].msg_hdr = (struct msghdr){.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = vectors, .msg_iovlen = i + 1};
    tell("sendmmsg", sendmmsg(a, messages, 3, 0)), say("%u %u %u", messages[0].msg_len, messages[1].msg_len, messages[2].msg_len);
    char parts[3][8] = {0};
    struct iovec into[3] = {{parts[0], 8}, {parts[1], 3}, {parts[2], 8}};
    memset(messages, 0, sizeof messages);
    for (int i = 0; i < 3; i++) messages[i].msg_hdr = (struct msghdr){.msg_iov = &into[i], .msg_iovlen = 1};
    tell("recvmmsg", recvmmsg(b, messages, 3, 0, 0));
    for (int i = 0; i < 3; i++) say("%u %s %#x", messages[i].msg_len, parts[i], messages[i].msg_hdr.msg_flags);
    sendto(a, "x", 1, 0, (void *)&to, sizeof to);
    tell("what is there", recvmmsg(b, messages, 3, MSG_WAITFORONE, 0)), tell("nothing", recvmmsg(b, messages, 3, MSG_DONTWAIT, 0));

    /* Options */
    say("type %d domain %d protocol %d", option(a, SOL_SOCKET, SO_TYPE), option(a, SOL_SOCKET, SO_DOMAIN), option(a, SOL_SOCKET, SO_PROTOCOL));
    client = socket(AF_INET6, SOCK_STREAM, 0);
    say("type %d domain %d protocol %d", option(client, SOL_SOCKET, SO_TYPE), option(client, SOL_SOCKET, SO_DOMAIN), option(client, SOL_SOCKET, SO_PROTOCOL));
    tell("set", set(client, SOL_SOCKET, SO_KEEPALIVE, 5)), say("%d", option(client, SOL_SOCKET, SO_KEEPALIVE));
    tell("set", set(client, IPPROTO_TCP, TCP_NODELAY, 1)), say("%d", option(client, IPPROTO_TCP, TCP_NODELAY));
    tell("set", set(client, IPPROTO_TCP, TCP_KEEPIDLE, 60)), say("%d", option(client, IPPROTO_TCP, TCP_KEEPIDLE)), tell("set", set(client, IPPROTO_TCP, TCP_KEEPIDLE, 0));
    tell("set", set(a, SOL_SOCKET, SO_SNDBUF, 10000)), say("%d", option(a, SOL_SOCKET, SO_SNDBUF)), tell("set", set(a, SOL_SOCKET, SO_RCVBUF, 1)), say("%d", option(a, SOL_SOCKET, SO_RCVBUF));
    tell("set", set(a, SOL_SOCKET, SO_BROADCAST, 1)), say("%d", option(a, SOL_SOCKET, SO_BROADCAST));
    tell("read-only", set(a, SOL_SOCKET, SO_TYPE, 1)), tell("unknown", set(a, SOL_SOCKET, 9999, 1)), say("unknown %d", option(a, SOL_SOCKET, 9999) == -ENOPROTOOPT);
    tell("TCP of UDP", set(a, IPPROTO_TCP, TCP_NODELAY, 1)), tell("unknown level", set(a, 77, 1, 1)), tell("short", setsockopt(a, SOL_SOCKET, SO_REUSEADDR, &on, 2));
    tell("bad address", setsockopt(a, SOL_SOCKET, SO_REUSEADDR, (void *)1, 4)), tell("linger", setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    size = sizeof linger, memset(&linger, 0, sizeof linger), getsockopt(client, SOL_SOCKET, SO_LINGER, &linger, &size), say("%d %d", linger.l_onoff, linger.l_linger);
    struct timeval time = {1, 500000};
    setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time), time.tv_sec = 0, size = sizeof time, getsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &time, &size), say("%ld %ld %u", (long)time.tv_sec, (long)time.tv_usec, (unsigned)size);
    time.tv_usec = 2000000, tell("bad time", setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time));
    tell("TTL", set(a, IPPROTO_IP, IP_TTL, 9)), say("%d", option(a, IPPROTO_IP, IP_TTL)), tell("unix", set(socket(AF_UNIX, SOCK_STREAM, 0), IPPROTO_TCP, TCP_NODELAY, 1));
    return 0;
}
