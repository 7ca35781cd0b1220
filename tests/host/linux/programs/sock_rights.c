/* Descriptors and identities that travel through sockets. */
#include "say.h"
#include <sys/socket.h>

static int pass(int socket, const int *fds, int count, const char *text) {
    char control[CMSG_SPACE(8 * sizeof(int))] = "";
    struct iovec part = {(void *)text, strlen(text)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS,
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, count * sizeof(int));
    return sendmsg(socket, &message, 0);
}

static int flags_seen, got[8];
static int take(int socket, int room, int flags) {
    char control[CMSG_SPACE(8 * sizeof(int))], text[64];
    struct iovec part = {text, sizeof text};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = room ? CMSG_SPACE(room * sizeof(int)) : 0};
    if (recvmsg(socket, &message, flags) <= 0) return -1;
    flags_seen = message.msg_flags;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_type != SCM_RIGHTS) return 0;
    int count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(got, CMSG_DATA(header), count * sizeof(int));
    return count;
}

int main(void) {
    int s[2], ends[2], fd = open("file", O_CREAT | O_RDWR, 0644);
    char c;
    write(fd, "0123456789", 10);
    lseek(fd, 3, SEEK_SET);
    socketpair(AF_UNIX, SOCK_STREAM, 0, s), pipe(ends);
    pid_t child = forked();
    if (!child) {
        close(fd), close(ends[1]);
        int count = take(s[1], 2, MSG_CMSG_CLOEXEC);
        say("child got: %d, close on exec: %d %d", count, fcntl(got[0], F_GETFD), fcntl(got[1], F_GETFD));
        read(got[0], &c, 1);
        say("child reads: %c", c);
        write(got[1], "from the child", 14);
        _exit(0);
    }
    int both[2] = {fd, ends[1]};
    int passed = pass(s[0], both, 2, "two");
    reap("child", child);
    tell("passed", passed);
    close(ends[1]);
    char text[32] = "";
    read(ends[0], text, 31);
    say("pipe: %s", text);
    read(fd, &c, 1);
    say("position is shared: %c", c);
    tell("the child's copy is gone with it", read(ends[0], text, 1));

    /* On its way a descriptor is open, though nobody has it. */
    pipe(ends);
    pass(s[0], &ends[1], 1, "w");
    close(ends[1]);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    tell("a writer is on its way", read(ends[0], &c, 1));
    tell("taken", take(s[1], 1, 0));
    close(got[0]);
    tell("and closed", read(ends[0], &c, 1));

    /* Without room for them they are closed. */
    pipe(ends);
    pass(s[0], &ends[1], 1, "w");
    close(ends[1]);
    tell("no room", take(s[1], 0, 0));
    yes("MSG_CTRUNC", flags_seen & MSG_CTRUNC);
    tell("closed", read(ends[0], &c, 1));
    int wrong = 999;
    tell("one that is not open", pass(s[0], &wrong, 1, "x"));
    pass(s[0], &fd, 1, "ordinary");
    tell("read takes the bytes alone", read(s[1], text, sizeof text));
    int itself = s[0];
    tell("a socket through itself", pass(s[0], &itself, 1, "s"));
    tell("taken", take(s[1], 1, 0));
    write(got[0], "again", 5);
    tell("it is the same", read(s[1], text, sizeof text));

    struct ucred who;
    socklen_t size = sizeof who;
    tell("SO_PEERCRED", getsockopt(s[1], SOL_SOCKET, SO_PEERCRED, &who, &size));
    yes("it is me", who.pid == getpid() && who.uid == geteuid() && who.gid == getegid());
    int on = 1;
    tell("SO_PASSCRED", setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
    child = forked();
    if (!child) {
        write(s[0], "me", 2);
        _exit(0);
    }
    char control[CMSG_SPACE(sizeof who)];
    struct iovec part = {text, 2};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    tell("recvmsg", recvmsg(s[1], &message, 0));
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_type == SCM_CREDENTIALS) memcpy(&who, CMSG_DATA(header), sizeof who);
    yes("it is the child", header && who.pid == child && who.uid == getuid());
    reap("child", child);
    return 0;
}
