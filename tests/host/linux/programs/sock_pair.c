/* socketpair: streams, datagrams, and packets in order. */
#include "say.h"
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static int s[2];
static char buffer[4096];

static void both_ways(const char *what, int type) {
    say("-- %s", what);
    tell("socketpair", socketpair(AF_UNIX, type, 0, s));
    int found = 0;
    socklen_t size = sizeof found;
    getsockopt(s[0], SOL_SOCKET, SO_TYPE, &found, &size);
    yes("SO_TYPE", found == type);
    tell("send", send(s[0], "first", 5, 0));
    tell("send", send(s[0], "second", 6, 0));
    tell("recv", recv(s[1], buffer, 3, 0));
    tell("recv", recv(s[1], buffer, sizeof buffer, 0));
    tell("not waiting", recv(s[1], buffer, sizeof buffer, MSG_DONTWAIT));
    tell("other way", write(s[1], "back", 4));
    tell("peek", recv(s[0], buffer, sizeof buffer, MSG_PEEK));
    tell("recv", read(s[0], buffer, sizeof buffer));
    tell("nothing sent", send(s[0], "", 0, 0));
    tell("is there", recv(s[1], buffer, 10, MSG_DONTWAIT));
}

int main(void) {
    struct stat status;
    both_ways("stream", SOCK_STREAM);
    fstat(s[0], &status);
    yes("is a socket", S_ISSOCK(status.st_mode));
    tell("lseek", lseek(s[0], 0, SEEK_SET));
    struct iovec parts[2] = {{"one", 3}, {"two", 3}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    tell("sendmsg", sendmsg(s[0], &message, 0));
    int waiting = 0;
    ioctl(s[1], FIONREAD, &waiting);
    say("waiting: %d", waiting);
    tell("MSG_WAITALL of what is there", recv(s[1], buffer, 6, MSG_WAITALL));
    pid_t child = forked();
    if (!child) {
        send(s[0], "abc", 3, 0);
        sleep_ms(8);
        send(s[0], "def", 3, 0);
        _exit(0);
    }
    tell("MSG_WAITALL waits", recv(s[1], buffer, 6, MSG_WAITALL));
    reap("child", child);
    tell("shutdown of writing", shutdown(s[0], SHUT_WR));
    tell("end", recv(s[1], buffer, 1, 0));
    tell("MSG_NOSIGNAL", send(s[0], "x", 1, MSG_NOSIGNAL));
    tell("the other way goes on", send(s[1], "y", 1, 0));
    tell("recv", recv(s[0], buffer, 1, 0));
    tell("unknown how", shutdown(s[0], 99));
    close(s[1]);
    child = forked();
    if (!child) {
        write(s[0], "x", 1);
        _exit(0);
    }
    reap("write without a peer", child);

    both_ways("datagram", SOCK_DGRAM);
    send(s[0], "too long for it", 15, 0);
    struct iovec small = {buffer, 4};
    message = (struct msghdr){.msg_iov = &small, .msg_iovlen = 1};
    tell("cut", recvmsg(s[1], &message, 0));
    yes("MSG_TRUNC is told", message.msg_flags & MSG_TRUNC);
    send(s[0], "too long for it", 15, 0);
    tell("the real length", recv(s[1], buffer, 4, MSG_TRUNC));
    close(s[1]);
    tell("no peer", send(s[0], "x", 1, MSG_NOSIGNAL));

    both_ways("packets", SOCK_SEQPACKET);
    shutdown(s[0], SHUT_WR);
    tell("end", recv(s[1], buffer, 1, 0));

    say("-- full");
    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, s);
    say("close on exec: %d", fcntl(s[0], F_GETFD));
    long total = 0;
    for (ssize_t n; (n = send(s[0], buffer, sizeof buffer, 0)) > 0;) total += n;
    tell("full", send(s[0], buffer, 1, 0));
    yes("it held some", total >= 4096);
    struct pollfd writable = {s[0], POLLOUT};
    tell("poll", poll(&writable, 1, 0));
    for (ssize_t n; (n = recv(s[1], buffer, sizeof buffer, 0)) > 0;) total -= n;
    say("left: %ld", total);
    tell("poll", poll(&writable, 1, 0));
    tell("unknown type", socketpair(AF_UNIX, 77, 0, s));
    tell("another protocol", socketpair(AF_UNIX, SOCK_STREAM, 77, s));
    tell("of the internet", socketpair(AF_INET, SOCK_STREAM, 0, s));
    tell("unknown family", socket(12345, SOCK_STREAM, 0));
    tell("send to no socket", send(1, "x", 1, 0));
    tell("send to nobody", send(999, "x", 1, 0));
    return 0;
}
