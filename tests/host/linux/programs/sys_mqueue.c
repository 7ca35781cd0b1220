/* POSIX message queues. */
#include "say.h"
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <sys/stat.h>

static char name[32];
static char got[64];

static void receive(mqd_t queue) {
    unsigned priority = 0;
    memset(got, 0, sizeof got);
    long size = mq_receive(queue, got, sizeof got, &priority);
    if (size < 0) tell("mq_receive", size);
    else say("mq_receive: %ld %s, %u", size, got, priority);
}

static void show(mqd_t queue) {
    struct mq_attr now;
    tell("mq_getattr", mq_getattr(queue, &now));
    say("%ld of %ld with %ld bytes, flags %lo", now.mq_curmsgs, now.mq_maxmsg, now.mq_msgsize, now.mq_flags);
}

static volatile int times, its_code, its_value;
static void on_message(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    times++, its_code = info->si_code, its_value = info->si_value.sival_int;
}

static struct timespec in(int ms) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_nsec += ms * 1000000;
    end.tv_sec += end.tv_nsec / 1000000000, end.tv_nsec %= 1000000000;
    return end;
}

int main(void) {
    struct mq_attr wanted = {.mq_maxmsg = 3, .mq_msgsize = 64}, none = {.mq_maxmsg = 0, .mq_msgsize = 1};
    snprintf(name, sizeof name, "/pltvm-%d", getpid());
    tell("not there", mq_open(name, O_RDWR));
    tell("of nothing", mq_open(name, O_RDWR | O_CREAT, 0600, &none));
    mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0640, &wanted);
    yes("made", queue >= 0);
    tell("exclusive", mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0640, &wanted));
    yes("closed by exec", fcntl(queue, F_GETFD) == FD_CLOEXEC);
    mqd_t reader = mq_open(name, O_RDONLY | O_NONBLOCK), writer = mq_open(name, O_WRONLY);
    receive(reader), receive(writer);
    tell("sent by a reader", mq_send(reader, "x", 1, 0));
    tell("mq_send", mq_send(queue, "low", 3, 1)), tell("mq_send", mq_send(queue, "high", 4, 9));
    tell("mq_send", mq_send(writer, "high too", 8, 9));
    tell("a priority", mq_send(queue, "x", 1, 32768)), tell("too long", mq_send(queue, name, 65, 0));
    struct timespec end = in(20);
    tell("full", mq_timedsend(queue, "x", 1, 0, &end));
    show(queue), show(reader);
    tell("small", mq_receive(reader, got, 63, 0));
    receive(reader), receive(queue), receive(queue);
    end = in(20);
    tell("empty", mq_timedreceive(queue, got, 64, 0, &end));

    struct pollfd polled = {queue, POLLIN | POLLOUT};
    tell("poll", poll(&polled, 1, 0));
    say("%x", polled.revents);
    struct mq_attr flags = {.mq_flags = O_NONBLOCK}, before;
    tell("mq_setattr", mq_setattr(queue, &flags, &before));
    receive(queue);
    flags.mq_flags = 0, mq_setattr(queue, &flags, 0);

    struct sigaction action = {.sa_sigaction = on_message, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &action, 0);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 42};
    tell("mq_notify", mq_notify(queue, &event)), tell("mq_notify again", mq_notify(queue, &event));
    mq_send(queue, "a", 1, 0), mq_send(queue, "b", 1, 0);
    say("told %d, %d, %d", times, its_code == SI_MESGQ, its_value);
    receive(queue), receive(queue);
    tell("mq_notify", mq_notify(queue, &event)), tell("no more", mq_notify(queue, 0));
    mq_send(queue, "c", 1, 0);
    say("told %d", times);
    receive(queue);

    pid_t child = forked();
    if (!child) receive(queue), fflush(stdout), _exit(0);
    usleep(20000);
    mq_send(writer, "to a child", 10, 3);
    reap("child", child);
    for (int i = 0; i < 3; i++) mq_send(queue, "x", 1, 0);
    child = forked();
    if (!child) tell("waits for room", mq_send(queue, "last", 4, 0)), fflush(stdout), _exit(0);
    usleep(20000);
    receive(reader);
    reap("child", child);
    tell("mq_unlink", mq_unlink(name)), tell("mq_unlink", mq_unlink(name)), tell("gone", mq_open(name, O_RDWR));
    show(queue);
    tell("mq_close", mq_close(queue)), tell("mq_close", mq_close(queue));
    tell("no queue", mq_send(0, "x", 1, 0));
    return 0;
}
