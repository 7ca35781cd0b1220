/* Processes that wait in many ways, with data and files on their way: to be saved at any line of this. */
#include "../host/linux/programs/say.h"
#include <netinet/in.h>
#include <arpa/inet.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>

static int ready_to_go[2];

static pid_t child_that(const char *what, void (*does)(int), int fd) {
    pid_t pid = forked();
    if (pid) return sleep_ms(2), say("%s", what), pid;
    does(fd);
    _exit(0);
}

static void accepts(int server) {
    int c = accept(server, 0, 0);
    char text[32] = "";
    long got = recv(c, text, 11, MSG_WAITALL);
    say("accepted, got %ld %s", got, text);
    sleep_ms(1);
    send(c, "answer", 6, 0);
}

static void polls(int fd) {
    struct pollfd both[2] = {{fd, POLLIN}, {ready_to_go[0], POLLIN}};
    int count = poll(both, 2, 10000);
    say("polled %d %#x %#x", count, both[0].revents, both[1].revents);
}

static void waits_with_epoll(int fd) {
    int inner = epoll_create1(0), outer = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = 7};
    epoll_ctl(inner, EPOLL_CTL_ADD, fd, &event);
    event.data.u64 = 8;
    epoll_ctl(outer, EPOLL_CTL_ADD, inner, &event);
    for (int i = 0; i < 3; i++) {
        int count = epoll_wait(outer, &event, 1, 10000);
        say("outer %d %d", count, (int)event.data.u64);
        count = epoll_wait(inner, &event, 1, 0);
        say("inner %d %d", count, count ? (int)event.data.u64 : 0);
    }
}

static void waits_for_timer(int timer) {
    uint64_t ticks;
    read(timer, &ticks, 8);
    say("timer %d", (int)ticks);
}

static void waits_for_signals(int fd) {
    struct signalfd_siginfo info;
    read(fd, &info, sizeof info);
    say("signal %s", signal_name(info.ssi_signo));
}

static void writes_much(int fd) {
    static char much[400000];
    say("wrote %d", (int)write(fd, much, sizeof much));
}

int main(void) {
    sigset_t set;
    sigemptyset(&set), sigaddset(&set, SIGUSR1), sigprocmask(SIG_BLOCK, &set, 0);
    pipe(ready_to_go);
    struct sockaddr_in any = {.sin_family = AF_INET};
    struct sockaddr_un path = {AF_UNIX, "/socket"};
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int server = socket(AF_INET, SOCK_STREAM, 0), named = socket(AF_UNIX, SOCK_STREAM, 0), s[2], d[2], full[2];
    bind(server, (void *)&any, sizeof any), listen(server, 2);
    socklen_t size = sizeof any;
    getsockname(server, (void *)&any, &size);
    bind(named, (void *)&path, sizeof path), listen(named, 2);
    socketpair(AF_UNIX, SOCK_STREAM, 0, s), socketpair(AF_UNIX, SOCK_DGRAM, 0, d), socketpair(AF_UNIX, SOCK_STREAM, 0, full);
    int event = eventfd(0, 0), timer = timerfd_create(CLOCK_MONOTONIC, 0), signals = signalfd(-1, &set, 0);
    struct itimerspec spec = {{0, 5000000}, {0, 300000000}};
    timerfd_settime(timer, 0, &spec, 0);

    pid_t pids[8];
    int count = 0;
    pids[count++] = child_that("one accepts", accepts, server);
    pids[count++] = child_that("one accepts by path", accepts, named);
    pids[count++] = child_that("one polls", polls, s[1]);
    pids[count++] = child_that("one waits for edges", waits_with_epoll, event);
    pids[count++] = child_that("one reads a timer", waits_for_timer, timer);
    pids[count++] = child_that("one reads signals", waits_for_signals, signals);
    pids[count++] = child_that("one writes much", writes_much, full[0]);

    /* Data, files and packets on their way; a connection that nobody has taken. */
    int client = socket(AF_INET, SOCK_STREAM, 0), second = socket(AF_INET, SOCK_STREAM, 0);
    connect(client, (void *)&any, sizeof any);
    say("connected");
    connect(second, (void *)&any, sizeof any), send(second, "not taken", 9, 0);
    send(client, "first", 5, 0);
    say("part was sent");
    int by_path = socket(AF_UNIX, SOCK_STREAM, 0);
    tell("connect by path", connect(by_path, (void *)&path, sizeof path));
    tell("unlink", unlink("/socket"));
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec vector = {"a file", 6};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *one = CMSG_FIRSTHDR(&message);
    one->cmsg_level = SOL_SOCKET, one->cmsg_type = SCM_RIGHTS, one->cmsg_len = CMSG_LEN(sizeof(int));
    int p[2];
    pipe(p), write(p[1], "in the pipe", 11), close(p[1]);
    memcpy(CMSG_DATA(one), &p[0], sizeof(int));
    sendmsg(d[0], &message, 0), close(p[0]), send(d[0], "second", 6, 0);
    say("files are on their way");
    uint64_t value = 1;
    write(event, &value, 8), say("an edge"), sleep_ms(2);
    write(event, &value, 8), say("another edge"), sleep_ms(2);
    send(client, "second", 6, 0), send(by_path, "first second", 11, 0);
    say("the rest was sent");
    char text[64] = "";
    recv(client, text, 60, 0), say("answer: %s", text);
    recv(by_path, text, 60, 0), say("answer: %s", text);
    send(s[0], "x", 1, 0), sleep_ms(2);
    write(event, &value, 8), sleep_ms(2);
    kill(pids[5], SIGUSR1), sleep_ms(2);
    long got, all = 0;
    while (all < 400000) got = read(full[1], (char[5000]){0}, 5000), all += got;
    say("all came: %ld", all);
    memset(text, 0, sizeof text);
    vector.iov_base = text;
    recvmsg(d[1], &message, 0);
    int file;
    memcpy(&file, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof file);
    say("message: %s", text), memset(text, 0, sizeof text), read(file, text, 60), say("file: %s", text);
    memset(text, 0, sizeof text), recv(d[1], text, 60, 0), say("message: %s", text);
    int c = accept(server, 0, 0);
    memset(text, 0, sizeof text), recv(c, text, 60, 0), say("taken now: %s", text);
    for (int i = 0; i < count; i++) reap("child", pids[i]);
    return 5;
}
