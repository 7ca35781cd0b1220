/* The driver, ioctl by ioctl (ABI section 8): `driver NAME ELF` runs one of the tests below, 0 when all is well.
 *
 * Fields that a library need not set hold a pattern, and each call opens the device for itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device.h"

#define CHECK(condition) \
    do { if (!(condition)) { printf("line %d: %s (errno %d)\n", __LINE__, #condition, errno); return 1; } } while (0)
#define SIZED(nr, type) _IOR(0xa4, nr, type)
#define PATTERN 0xa5

enum { SHM = 0x10, RELAY = 0x14 };

static char *elf;
static long elf_size;
static int kept; /* the enclave's descriptor */

static int on_device(unsigned long request, void *param)
{
    int fd = open("/dev/penglai_enclave_dev", O_RDWR);
    int result = ioctl(fd, request, param), cause = errno;

    close(fd);
    errno = cause;
    return result;
}

static int call(int nr, struct user_param *p) { return ioctl(kept, SIZED(nr, struct user_param), p); }
static int destroy(struct user_param *p) { return ioctl(kept, _IOW(0xa4, 5, struct user_param), p); }

static struct user_param param(int type, const char *name)
{
    struct user_param p;

    memset(&p, PATTERN, sizeof p);
    p.type = type, p.elf = elf, p.elf_size = elf_size, p.stack_size = type == 2 ? 0 : 65536;
    memset(p.name, 0, sizeof p.name);
    strncpy(p.name, name, 16);
    return p;
}

static struct user_param *without(struct user_param *p) /* relay pages; a first run */
{
    p->relay_id = 0, p->relay_offset = p->relay_size = 0, p->rerun_reason = 0;
    return p;
}

static int get(int kind, unsigned long size)
{
    struct get g = {0, size, 0};
    return on_device(SIZED(kind, struct get), &g);
}

static void *attach(int kind, int id)
{
    int fd = open("/dev/penglai_enclave_dev", O_RDWR);
    struct attach a;

    memset(&a, PATTERN, sizeof a);
    a.id = id, a.addr = 0;
    if (ioctl(fd, SIZED(kind + 1, struct attach), &a) != 0) return MAP_FAILED;
    void *memory = mmap(0, a.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return memory;
}

static long detach(int kind, int id, void *memory)
{
    struct detach d;

    memset(&d, PATTERN, sizeof d);
    d.id = id, d.addr = (unsigned long)memory;
    if (on_device(SIZED(kind + 2, struct detach), &d) != 0) return -1;
    return munmap(memory, d.size) == 0 ? (long)d.size : -2;
}

static int remove_id(int kind, int id) { return on_device(SIZED(kind + 3, int), &id); }

static void give(struct user_param *p, int id, unsigned long offset, unsigned long size, int reason)
{
    p->relay_id = id, p->relay_offset = offset, p->relay_size = size, p->rerun_reason = reason;
}

static int numbers(void)
{
    char *page = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(page + 4096, 4096);
    CHECK(ioctl(kept, _IOC(_IOC_READ, 0xa4, 0x10, 1025), page) == -1 && errno == EFAULT);
    CHECK(ioctl(kept, _IOC(_IOC_READ, 0xa4, 0x10, 1024), page + 3073) == -1 && errno == EFAULT);
    CHECK(ioctl(kept, SIZED(0x10, struct get), page + 4096 - 8) == -1 && errno == EFAULT);
    for (int nr = 6; nr < 256; nr++)
        if (nr < 0x10 || nr > 0x18) CHECK(ioctl(kept, SIZED(nr, struct get), page) == -1 && errno == EFAULT);
    CHECK(ioctl(kept, 0x5401, page) == -1 && errno == EFAULT);
    mprotect(page, 4096, PROT_READ);
    CHECK(ioctl(kept, SIZED(0x10, struct get), page) == -1); /* all of it is copied back, also after a failure */
    return 0;
}

static int create(void)
{
    struct user_param p = param(0, "one"), q;
    CHECK(call(0, &p) == 0 && p.eid == 0x1000);
    q = param(0, "two"), q.elf_size = 1;
    CHECK(call(0, &q) == 0 && q.eid == 0x1001 && q.elf_size == 1);
    q = param(2, "template");
    CHECK(call(0, &q) == 0 && q.eid == 0x1002); /* one number space */
    q = param(2, "other"), q.stack_size = 1L << 50, q.shmid = get(SHM, 4096), q.shm_offset = 0, q.shm_size = 4096;
    CHECK(q.shmid == 0x10000 && call(0, &q) == 0);
    q = param(0, "stack"), q.stack_size = (64L << 20) + 1;
    CHECK(call(0, &q) == -1 && errno == EPERM);
    q = param(0, "type"), q.type = 7;
    CHECK(call(0, &q) == -1 && errno == EFAULT);
    q = param(0, "pointer"), q.elf = (void *)8;
    CHECK(call(0, &q) == -1 && errno == EFAULT);
    char *copy = malloc(elf_size);
    memcpy(copy, elf, elf_size);
    copy[0] = 0;
    q = param(0, "no elf"), q.elf = copy;
    CHECK(call(0, &q) == -1 && errno == EFAULT);
    memcpy(copy, elf, elf_size);
    *(unsigned long *)(copy + 64 + 40) = (512UL << 20) + 4096; /* the first segment's size in memory */
    *(unsigned *)(copy + 64) = 1;
    CHECK(call(0, &q) == -1 && errno == EPERM);
    q = param(1, "server");
    CHECK(call(0, &q) == 0 && call(0, &q) == -1 && errno == EFAULT); /* the name is taken */

    int shm = get(SHM, 8192);
    unsigned long parts[][2] = {{0, 4096}, {4096, 4096}, {0, 8192}, {1, 4096}, {0, 0}, {0, 100}, {4096, 8192}, {-4096UL, 8192}};
    for (int i = 0; i < 8; i++) { /* what does not fit is no error: the enclave has none */
        q = param(0, "shared"), q.shmid = shm, q.shm_offset = parts[i][0], q.shm_size = parts[i][1];
        CHECK(call(0, &q) == 0);
        CHECK(remove_id(SHM, shm) == 0 && get(SHM, 8192) == (i < 3 ? 0x10002 : shm)); /* who has it keeps it */
        CHECK(destroy(&q) == 0);
        CHECK(i >= 3 || (remove_id(SHM, 0x10002) == 0 && get(SHM, 8192) == shm));
    }
    return 0;
}

static int memory(int kind)
{
    CHECK(get(kind, 0) == -1 && errno == EPERM && get(kind, 100) == -1 && get(kind, -4096UL) == -1);
    int first = get(kind, 4096), second = get(kind, 8192), third = get(kind, 4096);
    CHECK(first == 0x10000 && second == 0x10001 && third == 0x10002);
    CHECK(remove_id(kind, second) == 0 && remove_id(kind, second) == -1 && errno == EPERM);
    CHECK(get(kind, 3 * 4096) == second); /* the lowest free one */

    unsigned *page = attach(kind, second);
    CHECK(page != MAP_FAILED && page[0] == 0 && page[3 * 1024 - 1] == 0);
    page[1] = 77;
    CHECK(attach(kind, 0x10005) == MAP_FAILED && errno == EPERM);
    if (kind == RELAY) {
        CHECK(attach(kind, second) == MAP_FAILED && errno == EPERM); /* in one place */
        CHECK(remove_id(kind, second) == -1 && errno == EPERM);      /* it is attached */
    } else {
        unsigned *again = attach(kind, second);
        CHECK(again != MAP_FAILED && again != page && again[1] == 77);
        CHECK(detach(kind, second, again) == 3 * 4096);
        CHECK(remove_id(kind, second) == 0 && page[1] == 77); /* stays until it is let go */
        CHECK(attach(kind, second) == MAP_FAILED && remove_id(kind, second) == -1);
    }
    CHECK(detach(kind, second, page) == 3 * 4096);
    if (kind == RELAY) {
        page = attach(kind, second);
        CHECK(page != MAP_FAILED && page[1] == 77 && detach(kind, second, page) == 3 * 4096);
        CHECK(remove_id(kind, second) == 0);
    }
    CHECK(detach(kind, second, page) == -1 && errno == EPERM);
    CHECK(detach(kind, first, page) == -1 && errno == EPERM); /* not attached */
    CHECK(get(kind, 4096) == second);

    /* the open file: nothing before attach, no more than attached, nothing after detach */
    int fd = open("/dev/penglai_enclave_dev", O_RDWR);
    struct attach a = {.id = first};
    struct detach d = {.id = first};
    CHECK(mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EPERM);
    CHECK(ioctl(fd, SIZED(kind + 1, struct attach), &a) == 0 && a.size == 4096);
    CHECK(mmap(0, 8192, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EPERM);
    char *mapped = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(mapped != MAP_FAILED);
    CHECK(ioctl(fd, SIZED(kind + 2, struct detach), &d) == 0 && d.size == 4096);
    CHECK(mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EPERM);
    /* removed, but still mapped: nobody else gets the page */
    CHECK(remove_id(kind, first) == 0);
    memset(mapped, 0x41, 4096);
    for (int i = 0; i < 64; i++) {
        int id = get(kind, 4096);
        char *other = attach(kind, id);
        CHECK(other != MAP_FAILED && other[0] == 0 && other[4095] == 0);
        CHECK(detach(kind, id, other) == 4096);
    }
    CHECK(mapped[0] == 0x41);
    return 0;
}

static int stale(void) /* what was attached here and is gone by now is not mapped any more */
{
    int fd = open("/dev/penglai_enclave_dev", O_RDWR), id = get(SHM, 4096);
    struct attach a = {.id = id};
    struct detach d = {.id = id};
    CHECK(ioctl(fd, SIZED(0x11, struct attach), &a) == 0);
    CHECK(on_device(SIZED(0x12, struct detach), &d) == 0 && remove_id(SHM, id) == 0);
    CHECK(mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EPERM);
    return 0;
}

static int lives(void) /* run, stop, resume, attest, destroy */
{
    struct user_param p = param(0, "one"), t = param(2, "template"), s = param(1, "server"), q;
    CHECK(call(0, &p) == 0 && call(0, &t) == 0 && call(0, &s) == 0);
    q = p, q.eid = 0x1999;
    for (int nr = 1; nr < 5; nr++)
        if (nr != 2) CHECK(call(nr, without(&q)) == -1 && errno == EINVAL);
    CHECK(destroy(&q) == -1 && errno == EINVAL);
    q = p, q.is_shadow = 1; /* an enclave is no instance */
    CHECK(destroy(&q) == -1 && errno == EINVAL && call(3, &q) == -1 && errno == EINVAL);
    CHECK(call(3, &p) == -1 && errno == EPERM && call(4, &p) == -1 && errno == EPERM); /* the monitor's -1 */
    CHECK(call(1, without(&s)) == -1 && errno == EFAULT);
    struct attest_param report = {.eid = (int)s.eid, .is_shadow = PATTERN, .nonce = 9};
    CHECK(on_device(SIZED(2, struct attest_param), &report) == 0);
    report.eid = 0x1999;
    CHECK(on_device(SIZED(2, struct attest_param), &report) == -1 && errno == EINVAL);
    q = p, give(&q, 0, 0, 0, 1);
    CHECK(call(1, &q) == -1 && errno == EFAULT); /* it has returned no page */
    give(&q, 0x10009, 0, 4096, 0);
    CHECK(call(1, &q) == -1 && errno == EFAULT); /* no such relay pages; it stays as it was */
    CHECK(call(1, without(&p)) == 0 && p.retval == 0);
    CHECK(call(1, &p) == -1 && errno == EINVAL);
    for (int i = 0; i < 3; i++) {
        q = t;
        CHECK(call(1, without(&q)) == 0 && q.is_shadow == 1 && q.eid > t.eid && q.retval == 0);
    }
    CHECK(destroy(&t) == 0 && destroy(&s) == 0);
    return 0;
}

static int rerun(int type) /* relay pages that come back, and the next ones */
{
    int first = get(RELAY, 8192), second = get(RELAY, 4096);
    unsigned long *page = attach(RELAY, first), *next = attach(RELAY, second);
    struct user_param p = param(type, "again"), q;
    page[512] = 3, next[1] = 44;
    CHECK(call(0, &p) == 0);
    q = p, give(&q, first, 4096, 4096, 0);
    CHECK(call(1, &q) == 1 && page[512] == 3 && page[513] == 33);
    struct user_param w = q;
    CHECK(q.is_shadow == (type == 2 ? 1 : (int)0xa5a5a5a5));
    give(&w, second, 0, 4096, 7);
    CHECK(call(1, &w) == -1 && errno == EFAULT); /* another reason */
    if (type == 0) {
        w = q, give(&w, second, 0, 4096, 0);
        CHECK(call(1, &w) == -1 && errno == EFAULT); /* it waits, and can not start again */
    }
    w = q, give(&w, second, 8, 4096, 1);
    CHECK(call(1, &w) == -1 && errno == EFAULT);
    give(&q, second, 0, 4096, 1);
    CHECK(call(1, &q) == 0 && q.retval == 44);
    CHECK(detach(RELAY, first, page) == 8192 && detach(RELAY, second, next) == 4096);
    CHECK(remove_id(RELAY, first) == 0 && remove_id(RELAY, second) == 0);
    return 0;
}

static struct user_param shared_param;
static int run_result = 99;
static void *runner(void *unused)
{
    run_result = call(1, &shared_param);
    return unused;
}

static int offset(void) /* the second page is an enclave's: it can not be removed, reused or written */
{
    int id = get(RELAY, 8192);
    unsigned long *page = attach(RELAY, id);
    pthread_t one;
    page[512] = 1;
    CHECK(detach(RELAY, id, page) == 8192);
    shared_param = param(0, "holder");
    CHECK(call(0, &shared_param) == 0);
    give(&shared_param, id, 4096, 4096, 0);
    CHECK(pthread_create(&one, 0, runner, 0) == 0);
    for (int i = 0; i < 8; i++) sched_yield();
    CHECK(remove_id(RELAY, id) == 0);
    for (int i = 0; i < 64; i++) {
        char *memory = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memset(memory, 0x41, 65536);
        CHECK(get(SHM, 4096) > 0);
    }
    CHECK(pthread_join(one, 0) == 0 && run_result == 0 && shared_param.retval == 0x5ec2e7);
    return 0;
}

static int gone(void) /* relay pages that were given away for good, touched for the first time then */
{
    int id = get(RELAY, 8192), fd = open("/dev/penglai_enclave_dev", O_RDWR);
    unsigned long *page = attach(RELAY, id);
    page[0] = 2;
    CHECK(detach(RELAY, id, page) == 8192);
    struct attach a = {.id = id};
    CHECK(ioctl(fd, SIZED(0x15, struct attach), &a) == 0);
    volatile unsigned long *lost = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    shared_param = param(0, "sender");
    CHECK(call(0, &shared_param) == 0);
    give(&shared_param, id, 0, 8192, 0);
    CHECK(call(1, &shared_param) == 0 && shared_param.retval == 0);
    CHECK(write(1, (void *)lost, 1) == -1 && errno == EFAULT);
    printf("still here\n");
    return (int)lost[0];
}

static int hungry(void) /* more than the host has: the run fails, and the enclave is gone */
{
    int id = get(RELAY, 4096);
    unsigned long *page = attach(RELAY, id);
    page[0] = 4;
    shared_param = param(0, "hungry");
    CHECK(call(0, &shared_param) == 0);
    give(&shared_param, id, 0, 4096, 0);
    CHECK(call(1, &shared_param) == -1 && errno == EFAULT);
    CHECK(destroy(&shared_param) == -1 && errno == EINVAL);
    return 0;
}

static int prints(void)
{
    int id = get(RELAY, 4096);
    unsigned long *page = attach(RELAY, id);
    page[0] = 5;
    shared_param = param(0, "prints");
    CHECK(call(0, &shared_param) == 0);
    give(&shared_param, id, 0, 4096, 0);
    CHECK(call(1, &shared_param) == 0 && shared_param.retval == 5);
    fprintf(stderr, "to stderr\n");
    return 0;
}

static int many(void) /* as many ids as there may be, and memory as there is */
{
    int last = 0, id, shm = 0;
    while ((id = get(RELAY, 4096)) > 0) last = id;
    CHECK(last == 0x10000 + 4095 && errno == EPERM);
    while (get(SHM, 1 << 20) > 0) shm++;
    CHECK(shm > 100 && errno == EPERM && get(SHM, 4096) > 0);
    int persistent = 0xffff;
    CHECK(on_device(SIZED(0x18, int), &persistent) == -1 && errno == EPERM);
    persistent = 0x10000;
    CHECK(on_device(SIZED(0x18, int), &persistent) == 0);
    return 0;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, 0, _IONBF, 0);
    if (argc < 3) return 2;
    FILE *file = fopen(argv[2], "rb");
    fseek(file, 0, SEEK_END);
    elf = malloc(elf_size = ftell(file));
    rewind(file);
    if (fread(elf, 1, elf_size, file) != (size_t)elf_size) return 3;
    kept = open("/dev/penglai_enclave_dev", O_RDWR);
    char *name = argv[1];
    if (!strcmp(name, "numbers")) return numbers();
    if (!strcmp(name, "create")) return create();
    if (!strcmp(name, "shm")) return memory(SHM);
    if (!strcmp(name, "relay")) return memory(RELAY);
    if (!strcmp(name, "stale")) return stale();
    if (!strcmp(name, "lives")) return lives();
    if (!strcmp(name, "rerun")) return rerun(0);
    if (!strcmp(name, "rerun-instance")) return rerun(2);
    if (!strcmp(name, "offset")) return offset();
    if (!strcmp(name, "gone")) return gone();
    if (!strcmp(name, "hungry")) return hungry();
    if (!strcmp(name, "prints")) return prints();
    if (!strcmp(name, "many")) return many();
    return 2;
}
