/* Programs that have the host remember more and more: `hoards WHAT` prints where that ends. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int ends(const char *what, long count)
{
    printf("%s %ld: errno %d\n", what, count, errno);
    return 0;
}

static int zombies(void)
{
    for (long count = 0;; count++) {
        pid_t pid = vfork();
        if (pid == 0) _exit(0);
        if (pid < 0) return ends("processes", count);
    }
}

static int locks(void)
{
    int fd = open("locked", O_RDWR | O_CREAT, 0600);
    struct flock one = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    for (long count = 0;; count++, one.l_start += 2)
        if (fcntl(fd, F_SETLK, &one)) return ends("locks", count);
}

static int pipes(void)
{
    static char filling[1 << 20];
    for (long count = 0;; count++) {
        int ends_[2];
        if (count % 200 == 0) { /* the child goes on, with descriptors of its own; all stay open */
            pid_t pid = fork();
            if (pid) return waitpid(pid, 0, 0), 0;
            for (int fd = 3; fd < 512; fd++) close(fd);
        }
        pipe2(ends_, O_NONBLOCK);
        if (fcntl(ends_[1], F_SETPIPE_SZ, sizeof filling) < 0) return ends("pipes", count > 100);
        write(ends_[1], filling, sizeof filling);
    }
}

static int alarms(void) /* that are set anew, each time between two waits */
{
    timer_t timer;
    struct itimerspec far = {{0, 0}, {1 << 30, 0}};
    struct timespec soon = {0, 1};
    timer_create(CLOCK_MONOTONIC, 0, &timer);
    for (int i = 0; i < 10000; i++) timer_settime(timer, 0, &far, 0), nanosleep(&soon, 0);
    return 0;
}

static int texts(void) /* of /proc, each of some hundred thousand bytes */
{
    for (long i = 0; i < 4000; i++)
        mmap((void *)(0x1000000000 + i * 8192), 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    char first[64], again[64];
    int fd = open("/proc/self/maps", O_RDONLY);
    for (int i = 0; i < 30; i++) open("/proc/self/maps", O_RDONLY);
    read(fd, first, sizeof first), pread(fd, again, sizeof again, 0);
    printf("the same: %d\n", !memcmp(first, again, sizeof first));
    return 0;
}

static int crashes(void)
{
    for (int i = 0; i < 150; i++) {
        pid_t pid = fork();
        if (pid == 0) *(volatile int *)8 = 1;
        waitpid(pid, 0, 0);
    }
    return 0;
}

int main(int count, char **arguments)
{
    struct { const char *name; int (*run)(void); } all[] = {
        {"zombies", zombies}, {"locks", locks}, {"pipes", pipes}, {"alarms", alarms}, {"texts", texts},
        {"crashes", crashes},
    };
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(all[i].name, arguments[1])) return all[i].run();
    return 100;
}
