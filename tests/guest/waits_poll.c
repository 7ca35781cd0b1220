/* ppoll and pselect6: what is ready, when nothing is, and for how long. */
#include "../host/linux/programs/say.h"
#include <poll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>

static int caught;
static void on_signal(int number) { caught = number; }

static void show(const char *what, struct pollfd *fds, int count, long result) {
    char text[200];
    int at = 0;
    for (int i = 0; i < count; i++) at += snprintf(text + at, sizeof text - at, " %#x", fds[i].revents);
    if (result == -1) say("%s: -1 %s%s", what, error_name(errno), text);
    else say("%s: %ld%s", what, result, text);
}

static long raw_ppoll(struct pollfd *fds, unsigned count, struct timespec *time, sigset_t *mask, long size) {
    return syscall(SYS_ppoll, fds, count, time, mask, size);
}

static int span(int64_t from, int least, int most) {
    int64_t took = (now_ns(CLOCK_MONOTONIC) - from) / 1000000;
    return took >= least && took <= most;
}

int main(void) {
    int p[2], q[2];
    pipe(p), pipe(q);
    int64_t start = now_ns(CLOCK_MONOTONIC);
    tell("nothing for 50 ms", poll(0, 0, 50));
    yes("it took so long", span(start, 50, 90));
    struct pollfd fds[4] = {{p[0], POLLIN}, {-1, POLLIN, 77}, {p[1], POLLOUT | POLLIN}, {99, POLLIN}};
    show("pipe", fds, 4, poll(fds, 4, -1));
    write(p[1], "x", 1);
    fds[3].fd = -5;
    show("with a byte", fds, 4, poll(fds, 4, 0));
    fds[0].events = POLLIN | POLLRDNORM | POLLRDHUP;
    fds[2].events = POLLWRNORM;
    show("other names", fds, 4, poll(fds, 4, 0));
    fds[0].events = fds[2].events = 0;
    show("no events wanted", fds, 3, poll(fds, 3, 0));
    close(p[1]);
    fds[2].fd = -1;
    fds[0].events = POLLIN;
    show("writer gone", fds, 1, poll(fds, 1, -1));
    char c;
    read(p[0], &c, 1);
    show("and nothing left", fds, 1, poll(fds, 1, -1));
    close(q[0]);
    struct pollfd w = {q[1], POLLOUT};
    show("reader gone", &w, 1, poll(&w, 1, -1));
    w.events = 0;
    show("not asked", &w, 1, poll(&w, 1, -1));
    int null = open("/dev/null", O_RDWR), path = open("/", O_PATH);
    struct pollfd others[3] = {{null, POLLIN | POLLOUT}, {path, POLLIN}, {open("/", O_RDONLY), POLLIN | POLLOUT}};
    show("null, a path, a folder", others, 3, poll(others, 3, 0));

    /* Time that is left, and masks. */
    struct timespec time = {0, 30000000};
    tell("raw time out", raw_ppoll(0, 0, &time, 0, 0));
    say("left: %ld %ld", (long)time.tv_sec, (long)time.tv_nsec);
    time = (struct timespec){5, 0};
    show("ready at once", fds, 1, raw_ppoll(fds, 1, &time, 0, 0));
    yes("nearly all is left", time.tv_sec * 1000 + time.tv_nsec / 1000000 > 4500);
    time = (struct timespec){0, 0};
    tell("no time", raw_ppoll(0, 0, &time, 0, 0));
    time = (struct timespec){-1, 0};
    tell("negative", raw_ppoll(0, 0, &time, 0, 0));
    time = (struct timespec){0, 1000000000};
    tell("too many ns", raw_ppoll(0, 0, &time, 0, 0));
    tell("bad time", raw_ppoll(0, 0, (void *)1, 0, 0));
    tell("bad fds", raw_ppoll((void *)1, 1, 0, 0, 0));
    sigset_t none, one;
    sigemptyset(&none), sigemptyset(&one), sigaddset(&one, SIGALRM), sigaddset(&one, SIGUSR1);
    tell("bad mask size", raw_ppoll(0, 0, 0, &none, 4));
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = 3;
    setrlimit(RLIMIT_NOFILE, &limit);
    tell("more than may be open", poll(fds, 4, 0));
    limit.rlim_cur = limit.rlim_max < 256 ? limit.rlim_max : 256;
    setrlimit(RLIMIT_NOFILE, &limit);

    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, 0), sigaction(SIGUSR1, &action, 0);
    pipe(p);
    fds[0].fd = p[0];
    struct itimerval soon = {{0, 0}, {0, 20000}};
    setitimer(ITIMER_REAL, &soon, 0);
    time = (struct timespec){9, 0};
    show("a signal, restarts or not", fds, 1, raw_ppoll(fds, 1, &time, 0, 0));
    yes("the handler ran", caught == SIGALRM);
    yes("time left was written", time.tv_sec == 8 && time.tv_nsec > 0);
    sigprocmask(SIG_BLOCK, &one, 0);
    caught = 0;
    kill(getpid(), SIGUSR1);
    tell("blocked", poll(0, 0, 10));
    yes("not caught", !caught);
    time = (struct timespec){9, 0};
    tell("unblocked meanwhile", raw_ppoll(0, 0, &time, &none, 8));
    yes("caught", caught == SIGUSR1);
    sigset_t now;
    sigprocmask(SIG_BLOCK, 0, &now);
    yes("blocked again", sigismember(&now, SIGUSR1) && sigismember(&now, SIGALRM));
    caught = 0;
    kill(getpid(), SIGUSR1);
    write(p[1], "y", 1);
    time = (struct timespec){9, 0};
    show("ready comes first", fds, 1, raw_ppoll(fds, 1, &time, &none, 8));
    yes("so it was not caught", !caught);
    sigprocmask(SIG_UNBLOCK, &one, 0);
    yes("but then", caught == SIGUSR1);

    /* Somebody else makes it ready. */
    read(p[0], &c, 1);
    pid_t child = forked();
    if (!child) sleep_ms(15), write(p[1], "z", 1), _exit(0);
    start = now_ns(CLOCK_MONOTONIC);
    show("a child writes", fds, 1, poll(fds, 1, 5000));
    yes("then", span(start, 10, 1000));
    reap("child", child);

    /* select */
    fd_set r, wr, e;
    FD_ZERO(&r); FD_ZERO(&wr); FD_ZERO(&e);
    FD_SET(p[0], &r), FD_SET(p[1], &wr), FD_SET(p[0], &e);
    struct timeval tv = {1, 0};
    tell("select", select(p[1] + 1, &r, &wr, &e, &tv));
    say("%d %d %d", !!FD_ISSET(p[0], &r), !!FD_ISSET(p[1], &wr), !!FD_ISSET(p[0], &e));
    read(p[0], &c, 1);
    FD_ZERO(&r); FD_SET(p[0], &r);
    struct timespec ts = {0, 20000000};
    start = now_ns(CLOCK_MONOTONIC);
    tell("select times out", syscall(SYS_pselect6, p[1] + 1, &r, 0, 0, &ts, 0));
    yes("after 20 ms", span(start, 20, 60));
    say("%d, left %ld %ld", !!FD_ISSET(p[0], &r), (long)ts.tv_sec, (long)ts.tv_nsec);
    FD_ZERO(&r); FD_SET(33, &r);
    tell("not open", select(34, &r, 0, 0, 0));
    tell("negative count", select(-1, 0, 0, 0, 0));
    close(p[1]);
    FD_ZERO(&r); FD_SET(p[0], &r);
    tell("end of a pipe", select(p[0] + 1, &r, 0, 0, 0));
    int big[2];
    pipe(big);
    dup2(big[1], 200);
    FD_ZERO(&r); FD_ZERO(&wr); FD_SET(200, &wr);
    tell("a high one", select(201, &r, &wr, 0, 0));
    yes("set", FD_ISSET(200, &wr));
    struct { const sigset_t *set; size_t size; } mask = {&none, 8};
    struct timespec short_time = {0, 5000000};
    tell("pselect6 with a mask", syscall(SYS_pselect6, 0, 0, 0, 0, &short_time, &mask));
    say("left %ld %ld", (long)short_time.tv_sec, (long)short_time.tv_nsec);
    mask.size = 16;
    tell("of a wrong size", syscall(SYS_pselect6, 0, 0, 0, 0, &short_time, &mask));
    return 0;
}
