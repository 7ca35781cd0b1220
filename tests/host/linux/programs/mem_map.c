/* mmap and munmap: what is refused, what goes where, and parts that go. */
#include "say.h"
#include <sys/mman.h>
#include <sys/syscall.h>

enum { PAGE = 4096 };

/* Whether memory may be read, without a handler: the kernel says EFAULT. */
static int there(const void *at) {
    static int ends[2], made;
    char c;
    if (!made) pipe(ends), made = 1;
    if (write(ends[1], at, 1) != 1) return 0;
    read(ends[0], &c, 1);
    return 1;
}

static void *map(void *at, size_t size, int rights, int flags, int fd, off_t offset) {
    return mmap(at, size, rights, flags, fd, offset);
}
static void refused(const char *what, void *at) { tell(what, at == MAP_FAILED ? -1 : 0); }

int main(void) {
    int rw = PROT_READ | PROT_WRITE, anon = MAP_PRIVATE | MAP_ANONYMOUS;
    say("page: %ld", sysconf(_SC_PAGESIZE));
    char *p = map(0, 5 * PAGE, rw, anon, -1, 0);
    yes("aligned", p != MAP_FAILED && (unsigned long)p % PAGE == 0);
    int zeros = 0;
    for (int i = 0; i < 5 * PAGE; i++) zeros += !p[i];
    say("zeros: %d", zeros);
    memset(p, 7, 5 * PAGE);
    tell("munmap in the middle", munmap(p + 2 * PAGE, PAGE));
    say("there: %d %d %d", there(p + PAGE), there(p + 2 * PAGE), there(p + 3 * PAGE));
    say("content: %d %d", p[PAGE], p[3 * PAGE]);
    tell("munmap of nothing", munmap(p + 2 * PAGE, PAGE));
    tell("munmap of a part of a page", munmap(p, 1));
    say("it is gone whole: %d", there(p + PAGE - 1));
    tell("munmap of no length", munmap(p + PAGE, 0));
    tell("munmap not aligned", munmap(p + PAGE + 1, PAGE));
    refused("no length", map(0, 0, rw, anon, -1, 0));
    refused("neither shared nor private", map(0, PAGE, rw, MAP_ANONYMOUS, -1, 0));
    refused("no descriptor", map(0, PAGE, rw, MAP_PRIVATE, -1, 0));
    refused("offset not aligned", map(0, PAGE, rw, anon, -1, 100));
    refused("fixed, not aligned", map(p + 1, PAGE, rw, anon | MAP_FIXED, -1, 0));
    refused("too big", map(0, 1ul << 60, rw, anon, -1, 0));

    /* MAP_FIXED replaces; MAP_FIXED_NOREPLACE does not; a hint is only that. */
    p = map(0, 4 * PAGE, rw, anon, -1, 0);
    memset(p, 8, 4 * PAGE);
    yes("MAP_FIXED", map(p + PAGE, PAGE, rw, anon | MAP_FIXED, -1, 0) == p + PAGE);
    say("content: %d %d %d", p[0], p[PAGE], p[2 * PAGE]);
    refused("MAP_FIXED_NOREPLACE", map(p, PAGE, rw, anon | MAP_FIXED_NOREPLACE, -1, 0));
    refused("over its end", map(p + 3 * PAGE, 2 * PAGE, rw, anon | MAP_FIXED_NOREPLACE, -1, 0));
    say("content: %d", p[0]);
    munmap(p + 2 * PAGE, PAGE);
    yes("where nothing is", map(p + 2 * PAGE, PAGE, rw, anon | MAP_FIXED_NOREPLACE, -1, 0) == p + 2 * PAGE);
    char *q = map(p, PAGE, rw, anon, -1, 0);
    yes("a hint that is taken leads elsewhere", q != MAP_FAILED && q != p);
    say("content: %d", p[0]);
    munmap(q, PAGE);
    char *free_again = map(q, PAGE, rw, anon, -1, 0);
    yes("a hint that is free", free_again == q);

    /* Rights. */
    tell("mprotect", mprotect(p, PAGE, PROT_READ));
    say("still: %d", p[0]);
    tell("read into it", read(open("/dev/zero", O_RDONLY), p, 1));
    tell("mprotect of all, with a hole", (munmap(p + PAGE, PAGE), mprotect(p, 3 * PAGE, rw)));
    tell("mprotect not aligned", syscall(SYS_mprotect, p + 1, PAGE, rw)); /* musl would align it */
    tell("mprotect of no length", mprotect(p, 0, PROT_NONE));
    tell("mprotect of nothing", mprotect(p + PAGE, PAGE, rw));
    tell("unknown right", mprotect(p, PAGE, 0x40));
    mprotect(p, PAGE, PROT_NONE);
    say("PROT_NONE: %d", there(p));
    mprotect(p, PAGE, PROT_READ);
    say("content is kept: %d", p[0]);

    /* Many pieces of a big region, as allocators make them. */
    enum { PIECES = 400 };
    char *big = map(0, PIECES * PAGE, PROT_NONE, anon | MAP_NORESERVE, -1, 0);
    int wrong = 0;
    for (int i = 0; i < PIECES; i += 2) wrong += mprotect(big + i * PAGE, PAGE, rw) != 0, big[i * PAGE] = i;
    for (int i = 0; i < PIECES; i++) wrong += there(big + i * PAGE) != !(i & 1);
    tell("munmap of all the pieces", munmap(big, PIECES * PAGE));
    say("wrong: %d, there: %d", wrong, there(big + 10 * PAGE));
    char *huge = map(0, 1ul << 33, PROT_NONE, anon | MAP_NORESERVE, -1, 0);
    yes("8 GiB without rights", huge != MAP_FAILED);
    return 0;
}
