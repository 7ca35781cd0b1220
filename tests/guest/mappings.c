/* What a program may do with its memory: each mode checks one kind of call, and gives 0 when all is as on Linux. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHECK(what) do { if (!(what)) { printf("line %d: %s, errno %d\n", __LINE__, #what, errno); return 1; } } while (0)
#define FAILS(call, number) CHECK((errno = 0, (long)(call) == -1) && errno == (number))
#define P 4096L
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define RW (PROT_READ | PROT_WRITE)

static sigjmp_buf back;
static volatile int caught;
static void handler(int number, siginfo_t *info, void *context) { caught = number; siglongjmp(back, 1); }
static int signal_of(volatile char *at, int write)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, 0);
    sigaction(SIGBUS, &action, 0);
    caught = 0;
    if (!sigsetjmp(back, 1)) { if (write) *at = 1; else (void)*at; }
    return caught;
}

static int flags(void)
{
    char *a = mmap(0, 4 * P, RW, ANON | MAP_NORESERVE | MAP_STACK | MAP_POPULATE | MAP_GROWSDOWN, -1, 0);
    CHECK(a != MAP_FAILED);
    FAILS(mmap(a, P, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
    CHECK(munmap(a + P, P) == 0 && mmap(a + P, P, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0) == a + P);
    FAILS(mmap(0, P, RW, MAP_ANONYMOUS, -1, 0), EINVAL);
    FAILS(mmap(0, P, RW, MAP_ANONYMOUS | 4, -1, 0), EINVAL);
    FAILS(mmap(0, 0, RW, ANON, -1, 0), EINVAL);
    FAILS(mmap(0, 1UL << 62, RW, ANON, -1, 0), ENOMEM);
    FAILS(mmap((void *)1, P, RW, ANON | MAP_FIXED, -1, 0), EINVAL);
    FAILS(mmap(0, P, RW, MAP_PRIVATE, 99, 0), EBADF);
    FAILS(madvise(a, P, 77), EINVAL);
    FAILS(madvise(a + 1, P, MADV_DONTNEED), EINVAL);
    a[0] = a[P] = 7;
    CHECK(madvise(a, P, MADV_WILLNEED) == 0 && a[0] == 7);
    CHECK(madvise(a, P, MADV_DONTNEED) == 0 && a[0] == 0 && a[P] == 7);
    unsigned char seen[4];
    CHECK(mincore(a, 4 * P, seen) == 0 && seen[1] == 1 && seen[3] == 0);
    FAILS(mincore(a, 4 * P, (void *)8), EFAULT);
    CHECK(munmap(a + 2 * P, P) == 0);
    FAILS(mincore(a, 4 * P, seen), ENOMEM);
    FAILS(msync(a, 4 * P, MS_SYNC), ENOMEM);
    FAILS(msync(a, P, MS_SYNC | MS_ASYNC), EINVAL);
    FAILS(madvise(a, 4 * P, MADV_DONTNEED), ENOMEM);
    FAILS(mprotect(a, 4 * P, PROT_READ), ENOMEM);
    CHECK(mlock(a, P) == 0 && munlock(a, P) == 0 && mlockall(MCL_CURRENT) == 0 && munlockall() == 0);
    CHECK(mprotect(a, P, PROT_READ) == 0 && signal_of(a, 1) == SIGSEGV && signal_of(a, 0) == 0);
    CHECK(signal_of(a + 2 * P, 0) == SIGSEGV);
    return 0;
}

static int moves(void)
{
    char *a = malloc(40 << 20);
    CHECK(a);
    for (long i = 0; i < 40 << 20; i += P) a[i] = i >> 12;
    a = realloc(a, 90 << 20);
    CHECK(a);
    for (long i = 0; i < 40 << 20; i += P) CHECK(a[i] == (char)(i >> 12));
    CHECK(a[80 << 20] == 0);
    free(a);
    char *b = mmap(0, 8 * P, RW, ANON, -1, 0);
    strcpy(b, "moved");
    char *c = mremap(b, 8 * P, 8 * P, MREMAP_MAYMOVE | MREMAP_FIXED, b - 64 * P);
    CHECK(c == b - 64 * P && !strcmp(c, "moved") && signal_of(b, 0) == SIGSEGV);
    FAILS(mremap(b, 8 * P, 9 * P, MREMAP_MAYMOVE), EFAULT);
    FAILS(mremap(c, 8 * P, 0, 0), EINVAL);
    FAILS(mremap(c + 1, 8 * P, P, 0), EINVAL);
    CHECK(mremap(c, 8 * P, P, 0) == c && signal_of(c + P, 0) == SIGSEGV);
    return 0;
}

static int files(void)
{
    char text[16] = {0};
    int fd = open("data", O_RDWR | O_CREAT, 0644);
    CHECK(fd >= 0 && ftruncate(fd, P + 100) == 0);
    char *a = mmap(0, 3 * P, RW, MAP_SHARED, fd, 0), *b = mmap(0, P, PROT_READ, MAP_SHARED, fd, P);
    char *c = mmap(0, 3 * P, RW, MAP_PRIVATE, fd, 0);
    CHECK(a != MAP_FAILED && b != MAP_FAILED && c != MAP_FAILED);
    strcpy(a + P, "to the file");
    CHECK(!strcmp(b, "to the file"));
    CHECK(msync(a, 2 * P, MS_SYNC) == 0 && pread(fd, text, 11, P) == 11 && !strcmp(text, "to the file"));
    CHECK(signal_of(a + 2 * P, 0) == SIGBUS && signal_of(c + 2 * P, 1) == SIGBUS && signal_of(b, 1) == SIGSEGV);
    strcpy(c, "mine");
    strcpy(a, "late");
    CHECK(munmap(a, 3 * P) == 0 && pread(fd, text, 5, 0) == 5 && !strcmp(text, "late"));
    struct stat info;
    CHECK(fstat(fd, &info) == 0 && info.st_size == P + 100 && !strcmp(c, "mine"));
    int only = open("data", O_RDONLY);
    FAILS(mmap(0, P, RW, MAP_SHARED, only, 0), EACCES);
    CHECK(mmap(0, P, RW, MAP_PRIVATE, only, 0) != MAP_FAILED);
    FAILS(mmap(0, P, RW, MAP_SHARED, 1, 0), ENODEV);
    char *d = mmap(0, P, RW, MAP_SHARED, fd, 0);
    strcpy(d + 8, "at the end");
    close(fd);
    return 0;
}

static int holes(void) /* sparse use of much memory costs little: 1 GiB, on a machine that has 256 MiB */
{
    size_t size = 1UL << 30;
    char *a = mmap(0, size, RW, ANON | MAP_NORESERVE, -1, 0);
    CHECK(a != MAP_FAILED);
    for (size_t at = 0; at < size; at += 1 << 20) a[at] = 1;
    for (size_t at = 0; at < size; at += 1 << 20) CHECK(a[at] == 1 && a[at + P] == 0);
    CHECK(munmap(a, size) == 0);
    return 0;
}

int main(int count, char **names)
{
    static const struct { const char *name; int (*run)(void); } modes[] = {
        {"flags", flags}, {"moves", moves}, {"files", files}, {"holes", holes},
    };
    for (unsigned i = 0; i < sizeof modes / sizeof *modes; i++)
        if (count > 1 && !strcmp(names[1], modes[i].name)) return modes[i].run();
    return 2;
}
