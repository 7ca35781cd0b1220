/* Host programs for the enclave device, good and hostile: `device NAME ELF [SERVER]` runs one, 0 when all is well. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "device.h"

#define CHECK(condition) \
    do { if (!(condition)) { printf("line %d: %s (errno %d)\n", __LINE__, #condition, errno); return 1; } } while (0)

static int fd;
static void *elf, *server_elf;
static long elf_size, server_size;

static void *load(const char *name, long *size)
{
    FILE *file = fopen(name, "rb");
    if (!file) exit(3);
    fseek(file, 0, SEEK_END);
    *size = ftell(file);
    rewind(file);
    void *data = malloc(*size);
    if (fread(data, 1, *size, file) != (size_t)*size) exit(3);
    return data;
}

static struct user_param param(int type, const char *name)
{
    struct user_param p = {.type = type, .elf = type == 1 ? server_elf : elf, .stack_size = 65536,
                           .elf_size = type == 1 ? server_size : elf_size};
    strncpy(p.name, name, 16);
    return p;
}

static int requests(void) /* every request once, with what it should give */
{
    struct get get = {0, 8192, 0}, small = {0, 100, 0};
    int shm = ioctl(fd, REQUEST(0x10), &get), relay = ioctl(fd, REQUEST(0x14), &get);
    CHECK(shm == 0x10000 && relay == 0x10000 && ioctl(fd, REQUEST(0x10), &small) == -1 && errno == EPERM);
    struct attach attach = {.id = shm};
    CHECK(ioctl(fd, REQUEST(0x11), &attach) == 0 && attach.size == 8192);
    unsigned *memory = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(memory != MAP_FAILED && memory[0] == 0);
    memory[0] = 11111;
    struct attach relay_attach = {.id = relay};
    CHECK(ioctl(fd, REQUEST(0x15), &relay_attach) == 0);
    unsigned *pages = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    pages[0] = 22222;
    CHECK(ioctl(fd, REQUEST(0x18), &shm) == 0);

    struct user_param p = param(0, "one");
    p.shmid = shm, p.shm_size = 4096;
    CHECK(ioctl(fd, REQUEST(0), &p) == 0 && p.eid == 0x1000);
    struct attest_param attest = {.eid = p.eid, .nonce = 7};
    CHECK(ioctl(fd, REQUEST(2), &attest) == 0 && *(unsigned long *)(attest.report + 160 + 96) == 7);
    CHECK(ioctl(fd, REQUEST(3), &p) == -1 && ioctl(fd, REQUEST(4), &p) == -1); /* it does not run */
    p.relay_id = relay, p.relay_size = 8192;
    CHECK(ioctl(fd, REQUEST(1), &p) == 0);
    printf("retval %lu\n", p.retval);
    CHECK(pages[0] == 22222 && memory[0] == 11111);
    CHECK(ioctl(fd, REQUEST(5), &p) == -1 && errno == EINVAL); /* it has ended */

    CHECK(munmap(memory, 8192) == 0 && ioctl(fd, REQUEST(0x12), &attach) == 0 && ioctl(fd, REQUEST(0x12), &attach) == -1);
    CHECK(ioctl(fd, REQUEST(0x13), &shm) == 0 && ioctl(fd, REQUEST(0x13), &shm) == -1);
    CHECK(munmap(pages, 8192) == 0 && ioctl(fd, REQUEST(0x16), &relay_attach) == 0 && ioctl(fd, REQUEST(0x17), &relay) == 0);
    struct attach gone = {.id = relay};
    CHECK(ioctl(fd, REQUEST(0x15), &gone) == -1 && errno == EPERM);
    return 0;
}

static int wild(void) /* numbers and pointers that make no sense */
{
    unsigned long pointers[] = {0, 8, 0xfff, 0x123456789000, ~0UL, 1UL << 63, (unsigned long)load, (unsigned long)elf + elf_size - 8};
    for (unsigned nr = 0; nr < 256; nr++)
        for (int i = 0; i < 8; i++) {
            int result = ioctl(fd, REQUEST(nr), pointers[i]);
            if (result > 0 || (result == 0 && i < 6)) { printf("request %u with %lx gave %d\n", nr, pointers[i], result); return 1; }
        }
    for (unsigned long request = 1; request; request <<= 1) ioctl(fd, request, pointers[3]);
    CHECK(ioctl(fd, 0x5401, 0) == -1 && errno == EFAULT);
    unsigned char noise[112];
    srand(1);
    for (int round = 0; round < 300; round++) {
        for (unsigned i = 0; i < sizeof noise; i++) noise[i] = rand() >> 8;
        for (int nr = 0; nr < 6; nr++) CHECK(ioctl(fd, REQUEST(nr), noise) == -1);
    }
    struct user_param p = param(0, "fields");
    long sizes[] = {0, -1, 1, 63, 1L << 40, (long)(1UL << 63)};
    for (int i = 0; i < 6; i++) {
        struct user_param bad = p;
        bad.elf_size = sizes[i]; /* is no limit */
        CHECK(ioctl(fd, REQUEST(0), &bad) == 0 && ioctl(fd, REQUEST(5), &bad) == 0);
        bad = p, bad.stack_size = i == 0 || i == 2 || i == 3 ? (64L << 20) + 1 : sizes[i];
        CHECK(ioctl(fd, REQUEST(0), &bad) == -1 && errno == EPERM);
        bad = p, bad.type = i ? 3 + i : 3 | 65 << 8; /* none, and a concurrent server of too many slots */
        CHECK(ioctl(fd, REQUEST(0), &bad) == -1 && errno == EFAULT);
        bad = p, bad.shmid = 0x10001 + i; /* there is no such: the enclave has none */
        CHECK(ioctl(fd, REQUEST(0), &bad) == 0 && ioctl(fd, REQUEST(5), &bad) == 0);
        bad = p, bad.elf = (void *)(0x1234567000 + i);
        CHECK(ioctl(fd, REQUEST(0), &bad) == -1 && errno == EFAULT);
    }
    CHECK(mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED);
    struct get huge = {0, 1UL << 50, 0}, most = {0, 1UL << 38, 0};
    CHECK(ioctl(fd, REQUEST(0x10), &huge) == -1 && ioctl(fd, REQUEST(0x14), &most) == -1);
    return 0;
}

static int ids(void) /* ids that were freed, never were, or belong to something else */
{
    struct user_param server = param(1, "bench"), again = param(1, "bench"), p = param(0, "");
    CHECK(ioctl(fd, REQUEST(0), &server) == 0 && ioctl(fd, REQUEST(0), &again) == -1);
    CHECK(ioctl(fd, REQUEST(1), &server) == -1 && ioctl(fd, REQUEST(3), &server) == -1 && ioctl(fd, REQUEST(4), &server) == -1);
    CHECK(ioctl(fd, REQUEST(0), &p) == 0);
    struct user_param copy = p;
    CHECK(ioctl(fd, REQUEST(5), &p) == 0 && ioctl(fd, REQUEST(5), &p) == -1 && errno == EINVAL);
    for (int nr = 1; nr < 6; nr++) CHECK(ioctl(fd, REQUEST(nr), &copy) == -1);
    CHECK(ioctl(fd, REQUEST(5), &server) == 0 && ioctl(fd, REQUEST(0), &again) == 0 && ioctl(fd, REQUEST(5), &again) == 0);
    struct get get = {5, 4096, 0};
    int first = ioctl(fd, REQUEST(0x10), &get);
    CHECK(first > 0 && ioctl(fd, REQUEST(0x10), &get) == first);
    struct attach attach = {.id = first};
    CHECK(ioctl(fd, REQUEST(0x11), &attach) == 0 && ioctl(fd, REQUEST(0x13), &first) == 0);
    unsigned *memory = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(memory != MAP_FAILED && (memory[0] = 5) == 5); /* removed, but in use */
    CHECK(munmap(memory, 4096) == 0 && ioctl(fd, REQUEST(0x12), &attach) == 0 && ioctl(fd, REQUEST(0x12), &attach) == -1);
    return 0;
}

static struct user_param shared_param;
static int run_result = 99;
static void *runner(void *unused) { struct user_param p = shared_param; run_result = ioctl(fd, REQUEST(1), &p); return 0; }
static void nap(long ms) { struct timespec t = {ms / 1000, ms % 1000 * 1000000}; nanosleep(&t, 0); }

static int race(int which) /* destroy the caller, or the server, while the server runs for it */
{
    struct user_param server = param(1, "spin");
    CHECK(ioctl(fd, REQUEST(0), &server) == 0);
    shared_param = param(0, "caller");
    CHECK(ioctl(fd, REQUEST(0), &shared_param) == 0);
    pthread_t one;
    CHECK(pthread_create(&one, 0, runner, 0) == 0);
    nap(30);
    struct user_param victim = which == 0 ? shared_param : server, other = which == 0 ? server : shared_param;
    if (which == 2) { /* stop it first; stopping twice fails */
        CHECK(ioctl(fd, REQUEST(3), &shared_param) == 0 && ioctl(fd, REQUEST(3), &shared_param) == -1);
        nap(10);
    }
    CHECK(ioctl(fd, REQUEST(1), &shared_param) == -1 && errno == EFAULT); /* it runs already */
    CHECK(ioctl(fd, REQUEST(5), &victim) == 0);
    CHECK(pthread_join(one, 0) == 0 && run_result == 0);
    CHECK(ioctl(fd, REQUEST(5), &victim) == -1);
    CHECK(ioctl(fd, REQUEST(5), &other) == (which == 0 ? 0 : -1)); /* an idle server stays; a caller ends with it */
    return 0;
}

static int leave(void) /* ends with everything still there: enclaves, threads inside them, shared memory */
{
    struct user_param server = param(1, "spin");
    CHECK(ioctl(fd, REQUEST(0), &server) == 0);
    shared_param = param(0, "caller");
    CHECK(ioctl(fd, REQUEST(0), &shared_param) == 0);
    struct get get = {0, 4096, 0};
    struct attach attach = {.id = ioctl(fd, REQUEST(0x10), &get)};
    CHECK(ioctl(fd, REQUEST(0x11), &attach) == 0 && ioctl(fd, REQUEST(0x14), &get) > 0);
    CHECK(mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED);
    pthread_t one;
    CHECK(pthread_create(&one, 0, runner, 0) == 0);
    nap(20);
    return 0;
}

static int lost(void) /* relay pages are the enclave's while it runs: the host that touches them gets a signal */
{
    struct get get = {0, 4096, 0};
    struct attach attach = {.id = ioctl(fd, REQUEST(0x14), &get)};
    CHECK(ioctl(fd, REQUEST(0x15), &attach) == 0);
    volatile unsigned *pages = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    pages[0] = 1;
    struct user_param server = param(1, "spin");
    CHECK(ioctl(fd, REQUEST(0), &server) == 0);
    shared_param = param(0, "caller");
    shared_param.relay_id = attach.id, shared_param.relay_size = 4096;
    CHECK(ioctl(fd, REQUEST(0), &shared_param) == 0);
    pthread_t one;
    CHECK(pthread_create(&one, 0, runner, 0) == 0);
    nap(30);
    printf("still here\n");
    return (int)pages[0];
}

int main(int argc, char **argv)
{
    setvbuf(stdout, 0, _IONBF, 0);
    if (argc < 3) return 2;
    fd = open("/dev/penglai_enclave_dev", O_RDWR);
    elf = load(argv[2], &elf_size);
    server_elf = load(argv[argc > 3 ? 3 : 2], &server_size);
    if (fd < 0) return 2;
    if (!strcmp(argv[1], "requests")) return requests();
    if (!strcmp(argv[1], "wild")) return wild();
    if (!strcmp(argv[1], "ids")) return ids();
    if (!strcmp(argv[1], "race-caller")) return race(0);
    if (!strcmp(argv[1], "race-server")) return race(1);
    if (!strcmp(argv[1], "race-stopped")) return race(2);
    if (!strcmp(argv[1], "leave")) return leave();
    if (!strcmp(argv[1], "lost")) return lost();
    return 2;
}
