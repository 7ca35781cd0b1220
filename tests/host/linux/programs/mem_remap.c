/* mremap: growing, shrinking, moving. */
#include "say.h"
#include <sys/mman.h>

enum { PAGE = 4096 };
static int there(const void *at) {
    static int ends[2], made;
    char c;
    if (!made) pipe(ends), made = 1;
    if (write(ends[1], at, 1) != 1) return 0;
    read(ends[0], &c, 1);
    return 1;
}

static char *region(int pages) {
    char *p = mmap(0, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < pages; i++) p[i * PAGE] = i + 1;
    return p;
}

static void refused(const char *what, void *at) { tell(what, at == MAP_FAILED ? -1 : 0); }

int main(void) {
    char *p = region(4), *q;
    yes("shrink", mremap(p, 4 * PAGE, 2 * PAGE, 0) == p);
    say("there: %d %d", there(p + PAGE), there(p + 2 * PAGE));
    yes("grow into what is free", mremap(p, 2 * PAGE, 4 * PAGE, 0) == p);
    say("content: %d %d %d", p[0], p[PAGE], p[2 * PAGE]);
    /* Something behind it: it has to move. */
    munmap(p + 3 * PAGE, PAGE);
    mmap(p + 3 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    refused("grow with something behind", mremap(p, 3 * PAGE, 5 * PAGE, 0));
    q = mremap(p, 3 * PAGE, 50 * PAGE, MREMAP_MAYMOVE);
    yes("moved", q != MAP_FAILED && q != p);
    say("content: %d %d, old place: %d, behind: %d", q[0], q[PAGE], there(p), there(p + 3 * PAGE));
    q[49 * PAGE] = 9;
    say("new part: %d %d", q[10 * PAGE], q[49 * PAGE]);

    p = region(2);
    char *target = region(2);
    yes("MREMAP_FIXED", mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target);
    say("content: %d, old place: %d", target[PAGE], there(p));
    refused("FIXED alone", mremap(target, PAGE, PAGE, MREMAP_FIXED, q));
    refused("overlapping", mremap(target, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target + PAGE));
    refused("unknown flag", mremap(target, PAGE, PAGE, 0x40));
    refused("not aligned", mremap(target + 1, PAGE, PAGE, MREMAP_MAYMOVE));
    refused("to no length", mremap(target, PAGE, 0, MREMAP_MAYMOVE));
    refused("of nothing", mremap(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE));
    yes("same size", mremap(target, 2 * PAGE, 2 * PAGE, 0) == target);

    /* Of a file: the new part is the file's. */
    int fd = open("file", O_CREAT | O_RDWR, 0644);
    ftruncate(fd, 4 * PAGE);
    pwrite(fd, "third", 5, 2 * PAGE);
    char *f = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    f = mremap(f, PAGE, 4 * PAGE, MREMAP_MAYMOVE);
    say("from the file: %.5s", f + 2 * PAGE);
    f[3 * PAGE] = '!';
    char c = 0;
    pread(fd, &c, 1, 3 * PAGE);
    say("to the file: %c", c);

    /* Only a part of a region: the rest stays. */
    p = region(5);
    q = mremap(p + PAGE, PAGE, 8 * PAGE, MREMAP_MAYMOVE);
    say("a part: %d, left: %d%d%d", q[0], there(p), there(p + PAGE), there(p + 2 * PAGE));

    /* As realloc does with big blocks. */
    char *block = malloc(1 << 20);
    for (int i = 0; i < 1 << 20; i += PAGE) block[i] = i >> 12;
    for (int size = 2; size <= 16; size *= 2) block = realloc(block, size << 20);
    int wrong = 0;
    for (int i = 0; i < 1 << 20; i += PAGE) wrong += block[i] != (char)(i >> 12);
    say("realloc: %d wrong", wrong);
    return 0;
}
