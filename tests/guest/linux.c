/* A Linux program with a test in each function: `linux NAME [ARGUMENT]` runs one, 0 when all is well. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition) \
    do { if (!(condition)) { printf("line %d: %s (errno %d)\n", __LINE__, #condition, errno); return 1; } } while (0)

static int files(const char *unused)
{
    char text[32] = "";
    struct stat info;
    FILE *file = fopen("made.txt", "w");
    CHECK(file && fputs("one\ntwo\n", file) >= 0 && fclose(file) == 0);
    int fd = open("made.txt", O_RDWR);
    CHECK(fd >= 3 && pread(fd, text, 3, 4) == 3 && !strcmp(text, "two"));
    CHECK(fstat(fd, &info) == 0 && info.st_size == 8 && S_ISREG(info.st_mode));
    CHECK(lseek(fd, 0, SEEK_END) == 8 && write(fd, "three", 5) == 5 && ftruncate(fd, 10) == 0);
    CHECK(stat("made.txt", &info) == 0 && info.st_size == 10);
    int copy = dup(fd);
    CHECK(copy > fd && close(fd) == 0 && lseek(copy, 0, SEEK_SET) == 0 && close(copy) == 0);
    CHECK(close(copy) == -1 && errno == EBADF);
    char *map = mmap(0, 10, PROT_READ, MAP_PRIVATE, fd = open("made.txt", O_RDONLY), 0);
    CHECK(map != MAP_FAILED && !memcmp(map, "one\ntwo\nth", 10) && munmap(map, 10) == 0);
    CHECK(mkdir("folder", 0755) == 0 && rename("made.txt", "folder/moved.txt") == 0);
    CHECK(access("made.txt", F_OK) == -1 && errno == ENOENT);
    CHECK(unlink("folder/moved.txt") == 0 && rmdir("folder") == 0);
    CHECK(open("folder", O_RDONLY) == -1 && errno == ENOENT);
    return 0;
}

static int escape(const char *path)
{
    int fd = open(path, O_RDONLY);
    if (fd >= 0) {
        char text[64];
        printf("read %zd bytes of %s\n", read(fd, text, sizeof text), path);
        return 1;
    }
    FILE *file = fopen(path, "a");
    printf("%s: refused\n", path);
    return file ? 1 : 0;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t full = PTHREAD_COND_INITIALIZER;
static int counter, ready;
static __thread int own;

static void *count(void *argument)
{
    own = (int)(long)argument;
    for (int i = 0; i < 1000; i++) {
        pthread_mutex_lock(&lock);
        counter++;
        pthread_mutex_unlock(&lock);
    }
    pthread_mutex_lock(&lock);
    ready++;
    pthread_cond_signal(&full);
    pthread_mutex_unlock(&lock);
    return (void *)(long)own;
}

static int threads(const char *unused)
{
    pthread_t all[8];
    for (long i = 0; i < 8; i++) CHECK(pthread_create(&all[i], 0, count, (void *)i) == 0);
    pthread_mutex_lock(&lock);
    while (ready < 8) pthread_cond_wait(&full, &lock);
    pthread_mutex_unlock(&lock);
    for (long i = 0; i < 8; i++) {
        void *result;
        CHECK(pthread_join(all[i], &result) == 0 && (long)result == i);
    }
    CHECK(counter == 8000);
    return 0;
}

static volatile int flag;
static void *spin(void *unused) { while (!flag) ; return 0; }

static int preempt(const char *unused) /* a thread that never gives way does not keep the others from running */
{
    pthread_t one;
    CHECK(pthread_create(&one, 0, spin, 0) == 0);
    struct timespec nap = {0, 20000000};
    CHECK(nanosleep(&nap, 0) == 0);
    flag = 1;
    return pthread_join(one, 0);
}

static int clocks(const char *unused)
{
    struct timespec before, after, nap = {2, 500000000};
    CHECK(clock_gettime(CLOCK_MONOTONIC, &before) == 0 && nanosleep(&nap, 0) == 0);
    CHECK(clock_gettime(CLOCK_MONOTONIC, &after) == 0);
    CHECK(after.tv_sec - before.tv_sec >= 2 && after.tv_sec - before.tv_sec < 4);
    printf("%ld\n", (long)time(0));
    struct timespec soon;
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_sec += 1;
    pthread_mutex_lock(&lock);
    CHECK(pthread_cond_timedwait(&full, &lock, &soon) == ETIMEDOUT);
    return 0;
}

static volatile sig_atomic_t seen;
static void on_signal(int number) { seen = number; }
static void on_fault(int number, siginfo_t *info, void *context) { _exit(info->si_addr == (void *)0x1234000 ? 42 : 1); }

static int signals(const char *unused)
{
    signal(SIGUSR1, on_signal);
    CHECK(raise(SIGUSR1) == 0 && seen == SIGUSR1);
    signal(SIGUSR1, SIG_IGN);
    seen = 0;
    CHECK(raise(SIGUSR1) == 0 && seen == 0);
    return 0;
}

static int fault(const char *unused)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    CHECK(sigaction(SIGSEGV, &action, 0) == 0);
    *(volatile int *)0x1234000 = 1;
    return 1;
}

static int crash(const char *unused) { *(volatile int *)8 = 1; return 1; }
static int aborts(const char *unused) { abort(); }
static int deadlock(const char *unused) { pthread_mutex_lock(&lock); pthread_mutex_lock(&lock); return 1; }
static int forever(const char *unused) { for (;;) ; }

static int memory(const char *unused)
{
    size_t size = 64 << 20;
    char *area = mmap(0, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(area != MAP_FAILED && mprotect(area + 4096, 8192, PROT_READ | PROT_WRITE) == 0);
    area[4096] = 7;
    area[12287] = 8;
    CHECK(madvise(area + 4096, 8192, MADV_DONTNEED) == 0 && area[4096] == 0);
    CHECK(write(1, area, 1) == -1 && errno == EFAULT);
    CHECK(munmap(area, size) == 0 && munmap(area, 4097 * 0 + 0) == -1);
    for (int i = 0; i < 200; i++) {
        char *block = malloc(100000);
        CHECK(block);
        memset(block, i, 100000);
        if (i % 3) free(block);
    }
    char *code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned words[] = {0x02a00513, 0x00008067}; /* li a0, 42; ret */
    memcpy(code, words, sizeof words);
    __builtin___clear_cache(code, code + 8);
    CHECK(((int (*)(void))code)() == 42);
    return 0;
}

static int floats(const char *unused)
{
    volatile double a = 1.5, b = 2.25;
    printf("%.3f %.6g\n", a * b, a / b);
    return 0;
}

static int missing(const char *unused)
{
    CHECK(syscall(425, 1, 0) == -1 && errno == ENOSYS); /* io_uring_setup */
    CHECK(syscall(9999) == -1 && errno == ENOSYS);
    return 0;
}

static void ignore(int number) {}

static int pointers(const char *unused) /* every call with wild arguments ends in an error number */
{
    unsigned long wild[] = {0, 1, 0xfff, 0x1234567890, ~0UL, 1UL << 63, 0x3fffffffff, 4096};
    struct itimerval often = {{0, 1000}, {0, 1000}}; /* some of them wait for what never comes */
    struct sigaction action = {.sa_handler = ignore};
    sigaction(SIGALRM, &action, 0);
    setitimer(ITIMER_REAL, &often, 0);
    for (int number = 0; number < 460; number++) {
        if (number == 93 || number == 94 || number == 139 || (number >= 129 && number <= 131) || number == 220
            || number == 98 || number == 101 || number == 115 || number == 214 || number == 215 || number == 222
            || number == 226 || number == 233 || number == 57 || number == 24 || number == 63 || number == 65
            || number == 134 || number == 435)
            continue;
        for (int i = 0; i < 8; i++) syscall(number, wild[i], wild[(i + 1) % 8], wild[(i + 2) % 8], wild[(i + 3) % 8], 0, 0);
    }
    return 0;
}

static const struct { const char *name; int (*run)(const char *); } tests[] = {
    {"files", files}, {"escape", escape}, {"threads", threads}, {"preempt", preempt}, {"clocks", clocks},
    {"signals", signals}, {"fault", fault}, {"crash", crash}, {"aborts", aborts}, {"deadlock", deadlock},
    {"forever", forever}, {"memory", memory}, {"floats", floats}, {"missing", missing}, {"pointers", pointers},
};

int main(int argc, char **argv)
{
    for (unsigned i = 0; i < sizeof tests / sizeof *tests; i++)
        if (argc > 1 && !strcmp(argv[1], tests[i].name)) return tests[i].run(argc > 2 ? argv[2] : "");
    return 2;
}
