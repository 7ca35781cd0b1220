/* AF_UNIX: streams, packets, datagrams; names; files and credentials that go along. */
#include "../host/linux/programs/say.h"
#include <poll.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

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

static socklen_t named(struct sockaddr_un *address, const char *path) {
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (*path == '@') {
        memcpy(address->sun_path + 1, path + 1, strlen(path) - 1);
        return offsetof(struct sockaddr_un, sun_path) + strlen(path);
    }
    strcpy(address->sun_path, path);
    return sizeof *address;
}

static void show_name(const char *what, int fd, int peer) {
    struct sockaddr_un address;
    socklen_t size = sizeof address;
    memset(&address, 'x', sizeof address);
    int result = peer ? getpeername(fd, (void *)&address, &size) : getsockname(fd, (void *)&address, &size);
    if (result) { say("%s: -1 %s", what, error_name(errno)); return; }
    char path[120] = "";
    for (unsigned i = 0; i + 2 < size && i < 108; i++) path[i] = address.sun_path[i] ? address.sun_path[i] : '@';
    say("%s: %u %s", what, (unsigned)size, path);
}

static int bind_to(int fd, const char *path) {
    struct sockaddr_un address;
    socklen_t size = named(&address, path);
    return bind(fd, (void *)&address, size);
}

static int connect_to(int fd, const char *path) {
    struct sockaddr_un address;
    socklen_t size = named(&address, path);
    return connect(fd, (void *)&address, size);
}

static long send_file(int socket, const char *text, const int *files, int count) {
    struct iovec vector = {(char *)text, strlen(text)};
    char control[CMSG_SPACE(sizeof(int) * 8)] = {0};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (count) {
        message.msg_control = control, message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *one = CMSG_FIRSTHDR(&message);
        one->cmsg_level = SOL_SOCKET, one->cmsg_type = SCM_RIGHTS, one->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(one), files, sizeof(int) * count);
    }
    return sendmsg(socket, &message, 0);
}

static int got[8];
static void take_file(const char *what, int socket, int flags, int room, int size) {
    char text[64] = "", control[256];
    struct iovec vector = {text, size};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = room};
    long result = recvmsg(socket, &message, flags);
    if (result == -1) { say("%s: -1 %s", what, error_name(errno)); return; }
    int count = 0, others = 0;
    for (struct cmsghdr *one = CMSG_FIRSTHDR(&message); one; one = CMSG_NXTHDR(&message, one))
        if (one->cmsg_type == SCM_RIGHTS) {
            count = (one->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            memcpy(got, CMSG_DATA(one), count * sizeof(int));
        } else if (one->cmsg_type == SCM_CREDENTIALS) {
            struct ucred who;
            memcpy(&who, CMSG_DATA(one), sizeof who);
            others = who.pid == getpid() ? 1 : 2;
        }
    say("%s: %ld '%s' files %d credentials %d flags %#x", what, result, text, count, others, message.msg_flags);
}

int main(void) {
    int s[2], fd, c;
    char text[100], buffer[70000] = {0};
    signal(SIGPIPE, SIG_IGN);
    mkdir("sockets", 0755), chdir("sockets");

    /* Refusals. */
    tell("family", socket(AF_NETLINK + 100, SOCK_STREAM, 0));
    tell("type", socket(AF_UNIX, 9, 0));
    tell("type out of range", socket(AF_UNIX, 15, 0));
    tell("unknown flag", socket(AF_UNIX, SOCK_STREAM | 0x100, 0));
    tell("protocol", socket(AF_UNIX, SOCK_STREAM, 6));
    tell("pair of INET", socketpair(AF_INET, SOCK_STREAM, 0, s));
    tell("no socket", send(1000, "x", 1, 0));
    int null = open("/dev/null", O_RDWR);
    tell("a device", send(null, "x", 1, 0));

    /* A pair. */
    tell("pair", socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
    say("close on exec %d, flags %#x", fcntl(s[0], F_GETFD), fcntl(s[0], F_GETFL) & 0xFFF);
    struct stat state;
    fstat(s[0], &state);
    yes("a socket", S_ISSOCK(state.st_mode));
    say("ready %#x", events_of(s[0]));
    tell("write", write(s[0], "hello", 5)), tell("send", send(s[0], " you", 4, MSG_NOSIGNAL));
    say("ready %#x", events_of(s[1]));
    int waiting = 0;
    ioctl(s[1], FIONREAD, &waiting), say("waiting %d", waiting);
    take("peek", s[1], MSG_PEEK), take("take", s[1], 0), take("nothing", s[1], MSG_DONTWAIT);
    tell("seek", lseek(s[0], 0, SEEK_SET)), tell("pread", pread(s[0], text, 1, 0));
    show_name("name", s[0], 0), show_name("peer", s[0], 1);
    tell("connected already", connect_to(s[0], "@none")), tell("listen", listen(s[0], 1)), tell("accept", accept(s[0], 0, 0));
    struct sockaddr_un to;
    socklen_t size = named(&to, "@none");
    tell("sendto", sendto(s[0], "x", 1, 0, (void *)&to, size));
    tell("half close", shutdown(s[0], SHUT_WR));
    say("ready %#x %#x", events_of(s[0]), events_of(s[1]));
    tell("write", write(s[0], "x", 1)), take("end", s[1], 0);
    write(s[1], "back", 4), take("the other way", s[0], 0);
    tell("wrong how", shutdown(s[0], 3));
    write(s[1], "unread", 6);
    close(s[0]);
    say("ready %#x", events_of(s[1]));
    take("reset", s[1], 0), take("then the end", s[1], 0);
    tell("write", write(s[1], "x", 1)), tell("again", write(s[1], "x", 1));
    close(s[1]);
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    close(s[1]);
    say("peer closed %#x", events_of(s[0]));
    take("end", s[0], 0), tell("write", send(s[0], "x", 1, 0));
    close(s[0]);

    /* SIGPIPE. */
    pid_t child = forked();
    if (!child) {
        signal(SIGPIPE, SIG_DFL);
        socketpair(AF_UNIX, SOCK_STREAM, 0, s), close(s[1]);
        tell("quiet", send(s[0], "x", 1, MSG_NOSIGNAL));
        write(s[0], "x", 1);
        _exit(1);
    }
    reap("child", child);

    /* Names. */
    int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    say("new %#x", events_of(server));
    show_name("no name", server, 0), show_name("no peer", server, 1);
    tell("listen without a name", listen(server, 2)), take("receive", client, 0), tell("send", send(client, "x", 1, 0));
    tell("nobody", connect_to(client, "@abstract")), tell("no file", connect_to(client, "path")), tell("no folder", bind_to(server, "no/path"));
    umask(022);
    tell("bind", bind_to(server, "path")), tell("again", bind_to(server, "other")), tell("in use", bind_to(client, "path"));
    tell("does not listen", connect_to(client, "path"));
    show_name("name", server, 0);
    stat("path", &state);
    say("socket %d mode %o size %ld", S_ISSOCK(state.st_mode), state.st_mode & 0777, (long)state.st_size);
    tell("open", open("path", O_RDONLY));
    tell("listen", listen(server, 1));
    say("listening %#x", events_of(server));
    fcntl(server, F_SETFL, O_NONBLOCK);
    tell("nobody came", accept(server, 0, 0));
    fcntl(server, F_SETFL, 0);
    tell("connect", connect_to(client, "path"));
    say("ready %#x %#x", events_of(server), events_of(client));
    write(client, "early", 5);
    struct sockaddr_un from;
    size = sizeof from;
    c = accept4(server, (void *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    say("accepted, %u, %#x %d", (unsigned)size, fcntl(c, F_GETFL) & O_NONBLOCK, fcntl(c, F_GETFD));
    take("early", c, 0), take("nothing", c, 0);
    show_name("own", c, 0), show_name("peer", c, 1), show_name("peer", client, 1);
    tell("twice", connect_to(client, "path")), tell("connect of a listener", connect_to(server, "path"));
    tell("wrong kind", connect_to(socket(AF_UNIX, SOCK_DGRAM, 0), "path"));
    int many[4];
    for (int i = 0; i < 4; i++) many[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), tell("backlog", connect_to(many[i], "path"));
    rename("path", "moved");
    tell("old name", connect_to(many[3], "path"));
    close(accept(server, 0, 0));
    tell("moved", connect_to(many[3], "moved"));
    say("closed by accept %#x", events_of(many[0]));
    tell("unlink", unlink("moved")), tell("gone", stat("moved", &state));
    close(server);
    say("not accepted %#x", events_of(many[1])), take("reset", many[1], 0), take("end", many[1], 0);
    for (int i = 0; i < 4; i++) close(many[i]);
    close(c), close(client);
    server = socket(AF_UNIX, SOCK_STREAM, 0);
    tell("abstract", bind_to(server, "@a b")), show_name("name", server, 0), listen(server, 5);
    tell("in use", bind_to(socket(AF_UNIX, SOCK_STREAM, 0), "@a b"));
    child = forked();
    if (!child) {
        client = socket(AF_UNIX, SOCK_STREAM, 0);
        sleep_ms(5);
        tell("child connects", connect_to(client, "@a b"));
        struct ucred who;
        size = sizeof who;
        getsockopt(client, SOL_SOCKET, SO_PEERCRED, &who, &size);
        yes("parent is there", who.pid == getppid());
        write(client, "said", 4);
        read(client, text, 3);
        _exit(7);
    }
    c = accept(server, 0, 0);
    struct ucred who;
    size = sizeof who;
    getsockopt(c, SOL_SOCKET, SO_PEERCRED, &who, &size);
    read(c, text, 4);
    yes("child is there", who.pid == child);
    write(c, "bye", 3);
    reap("child", child);
    fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    sa_family_t family = AF_UNIX;
    tell("made-up name", bind(fd, (void *)&family, sizeof family));
    size = sizeof from, getsockname(fd, (void *)&from, &size);
    say("%u", (unsigned)size);
    tell("short", bind(socket(AF_UNIX, SOCK_DGRAM, 0), (void *)&family, 1));
    family = AF_INET;
    tell("other family", bind(socket(AF_UNIX, SOCK_DGRAM, 0), (void *)&family, sizeof family));
    tell("too long", bind(socket(AF_UNIX, SOCK_DGRAM, 0), (void *)&from, 200));

    /* Datagrams. */
    int a = socket(AF_UNIX, SOCK_DGRAM, 0), b = socket(AF_UNIX, SOCK_DGRAM, 0);
    say("new %#x", events_of(a));
    bind_to(a, "@a"), bind_to(b, "@b");
    size = named(&to, "@b");
    tell("no destination", send(a, "x", 1, 0));
    tell("sendto", sendto(a, "one", 3, 0, (void *)&to, size)), tell("empty", sendto(a, "", 0, 0, (void *)&to, size));
    tell("connect", connect_to(a, "@b")), tell("send", send(a, "three long", 10, 0));
    memset(text, 0, sizeof text);
    size = sizeof from, memset(&from, 0, sizeof from);
    tell("from", recvfrom(b, text, 20, 0, (void *)&from, &size)), say("%s %u %s", text, (unsigned)size, from.sun_path + 1);
    tell("empty", recv(b, text, 20, 0));
    tell("cut off", recv(b, text, 5, MSG_TRUNC)), tell("nothing", recv(b, text, 5, MSG_DONTWAIT));
    int third = socket(AF_UNIX, SOCK_DGRAM, 0);
    tell("a talks with b", connect_to(third, "@a"));
    fcntl(a, F_SETFL, O_NONBLOCK);
    int count = 0;
    while (send(a, "x", 1, 0) == 1) count++;
    say("%d wait: %s, ready %#x", count, error_name(errno), events_of(a));
    read(b, text, 1);
    say("ready %#x", events_of(a));
    close(b);
    tell("closed", send(a, "x", 1, 0)), tell("no peer", send(a, "x", 1, 0));
    tell("too large", (socketpair(AF_UNIX, SOCK_DGRAM, 0, s), send(s[0], buffer, 70000, 0) == 70000 ? 1 : -1));
    take_file("whole", s[1], 0, 0, 10);
    close(s[1]);
    tell("peer closed", send(s[0], "x", 1, 0)), tell("then", send(s[0], "x", 1, 0));

    /* Packets in sequence. */
    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s);
    write(s[0], "first", 5), write(s[0], "second", 6);
    take_file("cut off", s[1], 0, 0, 3), take("whole", s[1], 0);
    close(s[0]);
    say("ready %#x", events_of(s[1]));
    take("end", s[1], 0), tell("write", write(s[1], "x", 1));

    /* Files that go along. */
    int p[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, s), pipe(p);
    tell("send", send_file(s[0], "a pipe", p, 2));
    close(p[1]), close(p[0]);
    take_file("take", s[1], MSG_CMSG_CLOEXEC, 256, 60);
    tell("write", write(got[1], "through", 7)), memset(text, 0, 20), tell("read", read(got[0], text, 20)), say("%s, %d", text, fcntl(got[0], F_GETFD));
    write(s[0], "plain", 5), send_file(s[0], "with", got, 1), write(s[0], "after", 5);
    take_file("up to the files", s[1], 0, 256, 60), take_file("the rest", s[1], 0, 256, 60);
    send_file(s[0], "with", got, 1);
    take_file("part", s[1], 0, 256, 2), take_file("part", s[1], 0, 256, 2);
    send_file(s[0], "no room", got, 2), take_file("no room", s[1], 0, 0, 60);
    send_file(s[0], "for one", got, 2), take_file("for one", s[1], 0, CMSG_LEN(sizeof(int)), 60);
    send_file(s[0], "read", got, 2), tell("read", read(s[1], text, 20));
    got[2] = 1000;
    tell("not open", send_file(s[0], "x", got, 3));
    send_file(s[0], "itself", s, 2), close(s[0]), take_file("itself", s[1], 0, 256, 60);
    tell("write to oneself", write(got[0], "loop", 4)), take("loop", s[1], 0);
    close(got[0]), close(got[1]);
    socketpair(AF_UNIX, SOCK_DGRAM, 0, s);
    int on = 1;
    tell("SO_PASSCRED", setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
    send_file(s[0], "hello", s, 1), take_file("credentials", s[1], 0, 256, 60);
    socketpair(AF_UNIX, SOCK_STREAM, 0, s), write(s[0], "before", 6), setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    write(s[0], "after", 5), take_file("was not asked", s[1], 0, 256, 60), take_file("was asked", s[1], 0, 256, 60);

    /* Time-outs, and waiting. */
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    struct timeval time = {0, 20000};
    tell("SO_RCVTIMEO", setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time));
    int64_t start = now_ns(CLOCK_MONOTONIC);
    take("too late", s[0], 0);
    int64_t took = (now_ns(CLOCK_MONOTONIC) - start) / 1000000;
    yes("after 20 ms", took >= 20 && took < 60);
    setsockopt(s[0], SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
    long sent = 0, part;
    while ((part = write(s[0], buffer, sizeof buffer)) > 0) sent += part;
    say("full: %s, enough %d", error_name(errno), sent > 100000);
    child = forked();
    if (!child) {
        time.tv_usec = 0;
        setsockopt(s[0], SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
        tell("child writes all", write(s[0], buffer, sizeof buffer));
        _exit(0);
    }
    long all = 0;
    sleep_ms(5);
    while (all < sent + (long)sizeof buffer) all += read(s[1], buffer, sizeof buffer);
    reap("child", child);
    yes("all came", all == sent + (long)sizeof buffer);
    child = forked();
    if (!child) {
        for (int i = 0; i < 4; i++) sleep_ms(3), write(s[0], "part", 4);
        _exit(0);
    }
    take("all of it", s[1], MSG_WAITALL | MSG_PEEK);
    memset(text, 0, sizeof text);
    tell("wait for all", recv(s[1], text, 16, MSG_WAITALL)), say("%s", text);
    reap("child", child);
    close(s[0]);
    tell("wait for all at the end", recv(s[1], text, 16, MSG_WAITALL));
    return 0;
}
