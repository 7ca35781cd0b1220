/* Unix sockets with names: in the file system, and beside it. */
#include "say.h"
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static struct sockaddr_un name(const char *path, socklen_t *size) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path + 1) + 1);
    *size = offsetof(struct sockaddr_un, sun_path) + strlen(path + 1) + 1 + (*path != 0);
    return address;
}

static long bound(int fd, const char *path) {
    socklen_t size;
    struct sockaddr_un address = name(path, &size);
    return bind(fd, (void *)&address, size);
}

static long connected(int fd, const char *path) {
    socklen_t size;
    struct sockaddr_un address = name(path, &size);
    return connect(fd, (void *)&address, size);
}

static int stream(void) { return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); }

int main(void) {
    char text[64] = "";
    struct stat status;
    struct sockaddr_un found;
    socklen_t size = sizeof found;
    int server = stream(), client, peer;
    tell("connect to nothing", connected(stream(), "sock"));
    tell("listen without a name", listen(server, 5) ? -1 : 0);
    server = stream();
    tell("bind", bound(server, "sock"));
    lstat("sock", &status);
    yes("it is a socket", S_ISSOCK(status.st_mode));
    tell("bind of what is there", bound(stream(), "sock"));
    tell("bind twice", bound(server, "sock2"));
    tell("in no folder", bound(stream(), "none/sock"));
    tell("connect before listen", connected(stream(), "sock"));
    tell("accept before listen", accept(server, 0, 0));
    tell("open", open("sock", O_RDWR));
    tell("listen", listen(server, 5));
    client = stream();
    tell("connect before accept", connected(client, "sock"));
    tell("and write", write(client, "early", 5));
    peer = accept4(server, (void *)&found, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    say("accept4: close on exec %d, not blocking %d", fcntl(peer, F_GETFD),
        !!(fcntl(peer, F_GETFL) & O_NONBLOCK));
    say("the client has no name: %d", (int)(size - offsetof(struct sockaddr_un, sun_path)));
    tell("read", read(peer, text, sizeof text));
    size = sizeof found;
    tell("getsockname", getsockname(peer, (void *)&found, &size));
    say("it is: %s", found.sun_path);
    size = sizeof found, memset(&found, 0, sizeof found);
    tell("getpeername", getpeername(client, (void *)&found, &size));
    say("it is: %s", found.sun_path);
    tell("connect again", connected(client, "sock"));
    int on = 0;
    size = sizeof on;
    getsockopt(server, SOL_SOCKET, SO_ACCEPTCONN, &on, &size);
    say("SO_ACCEPTCONN: %d", on);
    close(peer);
    tell("closed by the server", read(client, text, 1));
    fcntl(server, F_SETFL, O_NONBLOCK);
    tell("nobody to accept", accept(server, 0, 0));
    close(server);
    tell("no server any more", connected(stream(), "sock"));
    tell("getpeername without peer", getpeername(stream(), (void *)&found, &size));
    close(open("file", O_CREAT | O_WRONLY, 0644));
    tell("connect to a file", connected(stream(), "file"));
    tell("unlink", unlink("sock"));

    /* Abstract: a zero first, no file. */
    server = stream();
    char abstract[32] = "";
    snprintf(abstract + 1, 31, "abstract-%d", getpid());
    tell("abstract", bound(server, abstract));
    tell("taken", bound(stream(), abstract));
    listen(server, 5);
    pid_t child = forked();
    if (!child) {
        int mine = stream();
        if (connected(mine, abstract)) _exit(1);
        write(mine, "hello", 5);
        _exit(read(mine, text, 64) == 3 ? 0 : 2);
    }
    peer = accept(server, 0, 0);
    tell("read", read(peer, text, 64));
    write(peer, "bye", 3);
    reap("child", child);
    tell("end", read(peer, text, 64));
    close(server);
    tell("gone with its socket", connected(stream(), abstract));

    /* Datagrams by name. */
    int receiver = socket(AF_UNIX, SOCK_DGRAM, 0), sender = socket(AF_UNIX, SOCK_DGRAM, 0);
    bound(receiver, "to"), bound(sender, "from");
    struct sockaddr_un to = name("to", &size);
    tell("sendto", sendto(sender, "letter", 6, 0, (void *)&to, size));
    size = sizeof found, memset(&found, 0, sizeof found);
    tell("recvfrom", recvfrom(receiver, text, 64, 0, (void *)&found, &size));
    say("from: %s", found.sun_path);
    tell("send to nobody", send(sender, "x", 1, 0));
    tell("connect", connected(sender, "to"));
    tell("send", send(sender, "x", 1, 0));
    tell("a stream to it", connected(stream(), "to"));
    struct sockaddr_un wrong = {.sun_family = AF_INET};
    tell("another family", bind(stream(), (void *)&wrong, sizeof wrong));
    tell("too short", bind(stream(), (void *)&wrong, 1));
    return 0;
}
