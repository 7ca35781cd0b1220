/* A host program that never ends: `endless_host WHERE [ELF]`. It prints "ready" when it is there. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <poll.h>
#include <time.h>
#include <fcntl.h>
#include <unistd.h>

#include "device.h"

static int fd, word;
static struct user_param param = {.stack_size = 65536};

static void create(const char *name)
{
    static char data[4 << 20];
    int file = open(name, O_RDONLY);
    param.elf = data;
    param.elf_size = read(file, data, sizeof data);
    fd = open("/dev/penglai_enclave_dev", O_RDWR);
    if (ioctl(fd, REQUEST(0), &param)) exit(3);
}

static void *run(void *unused)
{
    long result = ioctl(fd, REQUEST(1), &param);
    printf("the enclave ended: %ld\n", result);
    return 0;
}

static void *wait_on(void *time) { for (;;) syscall(SYS_futex, &word, 0, 0, time); }
static void nothing(int number) {}
static void again(int number) { raise(number); }

/* What the first process waits for while another one sleeps for years, or never stops. */
static void processes(const char *where, struct timespec *years)
{
    int ends[2], status;
    char byte;
    pipe(ends);
    if (!strcmp(where, "fork")) for (;;) if (!fork()) _exit(0); else wait(&status);
    if (!strcmp(where, "vfork")) for (;;) if (!vfork()) _exit(0); else wait(&status);
    if (!strcmp(where, "timer")) {
        struct itimerval often = {{0, 100}, {0, 100}};
        signal(SIGALRM, nothing);
        setitimer(ITIMER_REAL, &often, 0);
        for (;;) pause();
    }
    if (!strcmp(where, "lock")) {
        flock(open("lock", O_CREAT | O_RDWR, 0600), LOCK_EX);
        if (!fork()) flock(open("lock", O_RDWR), LOCK_EX), _exit(0);
        nanosleep(years, 0);
    }
    if (!fork()) {
        if (!strcmp(where, "busy")) for (;;);
        nanosleep(years, 0);
    }
    if (!strcmp(where, "full")) for (;;) write(ends[1], ends, sizeof ends);
    if (!strcmp(where, "pipe")) read(ends[0], &byte, 1);
    if (!strcmp(where, "poll")) { struct pollfd one = {ends[0], POLLIN}; poll(&one, 1, -1); }
    if (!strcmp(where, "epoll")) {
        struct epoll_event event = {EPOLLIN};
        int all = epoll_create1(0);
        epoll_ctl(all, EPOLL_CTL_ADD, eventfd(0, 0), &event);
        epoll_wait(all, &event, 1, -1);
    }
    if (!strcmp(where, "sigwait")) { sigset_t set; sigfillset(&set); sigprocmask(SIG_BLOCK, &set, 0); sigwait(&set, &status); }
    if (!strcmp(where, "wait") || !strcmp(where, "busy")) wait(&status);
}

int main(int argc, char **argv)
{
    const char *where = argv[1];
    struct timespec years = {100000, 0}, soon = {0, 1000};
    pthread_t thread;
    char byte;

    setvbuf(stdout, 0, _IONBF, 0);
    if (argc > 2) {
        if (!strcmp(where, "attest")) param.stack_size = 32 << 20;
        create(argv[2]);
    }
    printf("ready\n");
    if (!strcmp(where, "sleep")) nanosleep(&years, 0);
    if (!strcmp(where, "stdin")) read(0, &byte, 1);
    if (!strcmp(where, "futex")) wait_on(&years);
    if (!strcmp(where, "threads")) pthread_create(&thread, 0, wait_on, &soon), wait_on(&soon);
    if (!strcmp(where, "requeue")) {
        pthread_create(&thread, 0, wait_on, 0);
        sched_yield();
        for (;;) syscall(SYS_futex, &word, 3, 0, 0x7fffffffL, &word, 0);
    }
    if (!strcmp(where, "signals")) { signal(SIGUSR1, again); raise(SIGUSR1); }
    if (!strcmp(where, "clone")) for (;;) if (!pthread_create(&thread, 0, (void *(*)(void *))nothing, 0)) pthread_join(thread, 0);
    if (!strcmp(where, "enclave")) run(0);
    if (!strcmp(where, "both")) { pthread_create(&thread, 0, run, 0); for (;;) sched_yield(); }
    if (!strcmp(where, "relay")) for (;;) ioctl(fd, REQUEST(1), &param);
    if (!strcmp(where, "attest")) {
        struct { int eid, is_shadow; unsigned long nonce; unsigned char report[328]; } report = {param.eid};
        for (;;) ioctl(fd, REQUEST(2), &report);
    }
    if (!strcmp(where, "spin")) for (;;);
    processes(where, &years);
    return 4;
}
