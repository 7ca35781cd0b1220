/* mmap, munmap and sbrk as section 4 has them. */
#include "bare.h"

#define PAGES(n) ((n) * PAGE)

static u64 map(u64 address, u64 pages)
{
    return ocall(MMAP, address, PAGES(pages), 0);
}

static u64 unmap(u64 address, u64 pages)
{
    return ocall(MUNMAP, address, PAGES(pages), 0);
}

static u64 sbrk(long size)
{
    return ocall(SBRK, size, 0, 0);
}

static volatile char *at(u64 address)
{
    return (volatile char *)address;
}

/* A power-of-two block of pages, of which the first is the monitor's. */
static void check_sizes(void)
{
    u64 one = map(0, 1), two, three, four;

    MUST(one, MMAP_TOP - PAGES(1));
    MUST(two = map(0, 2), one - PAGES(3));
    MUST(three = map(0, 3), two - PAGES(3));
    MUST(four = map(0, 4), three - PAGES(7));
    HOLDS(filled(at(four), 0, PAGES(7)));
    HOLDS(filled(at(two), 0, PAGES(3)));
    fill(at(one), 1, PAGES(1));
    fill(at(two), 2, PAGES(3));
    fill(at(three), 3, PAGES(3));
    fill(at(four), 4, PAGES(7));
    HOLDS(filled(at(one), 1, PAGES(1)));
    HOLDS(filled(at(two), 2, PAGES(3)));
    HOLDS(filled(at(three), 3, PAGES(3)));

    /* The whole mapping goes, however little of it is named. */
    MUST(unmap(two, 1), 0);
    MUST(unmap(two, 1), FAILED);
    MUST(unmap(one, 1), 0);
    MUST(one = map(0, 1), MMAP_TOP - PAGES(1)); /* the top of the area first */
    HOLDS(filled(at(one), 0, PAGES(1)));
    MUST(two = map(0, 2), four - PAGES(3));     /* else below the lowest */
    HOLDS(filled(at(four), 4, PAGES(7)));
    MUST(unmap(two, 2), 0);
    MUST(unmap(four, 7), 0);
    MUST(unmap(three, 3), 0);
    MUST(unmap(one, 1), 0);
    MUST(unmap(MMAP_TOP - PAGES(1), 1), FAILED);
}

static void check_addresses(void)
{
    u64 wanted = MMAP_TOP - PAGES(1024), low;

    MUST(map(wanted, 4), wanted);
    MUST(low = map(wanted, 1), wanted - PAGES(1)); /* taken: below the lowest */
    MUST(map(wanted + PAGES(6), 1), low - PAGES(1));
    MUST(unmap(low - PAGES(1), 1), 0);
    MUST(unmap(low, 1), 0);
    MUST(unmap(wanted, 4), 0);
}

static void check_heap(void)
{
    MUST(sbrk(0), HEAP);
    MUST(sbrk(100), FAILED);
    MUST(sbrk(-100), FAILED);
    MUST(sbrk(0), HEAP);
    MUST(sbrk(PAGES(4)), HEAP + PAGES(7));
    MUST(sbrk(PAGES(2)), HEAP + PAGES(10));
    MUST(sbrk(0), HEAP + PAGES(10));
    HOLDS(filled(at(HEAP), 0, PAGES(10)));
    fill(at(HEAP), 5, PAGES(10));
    MUST(sbrk(-(long)PAGES(3)), HEAP + PAGES(7)); /* the second block starts at the new top */
    HOLDS(filled(at(HEAP), 5, PAGES(7)));
    MUST(sbrk(PAGES(1)), HEAP + PAGES(8));
    HOLDS(filled(at(HEAP + PAGES(7)), 0, PAGES(1)));
    MUST(sbrk(-(long)PAGES(9)), HEAP); /* more than there is */
    MUST(sbrk(0), HEAP);
    MUST(sbrk(PAGES(1)), HEAP + PAGES(1));
    HOLDS(filled(at(HEAP), 0, PAGES(1)));
    MUST(sbrk(PAGES(1)), HEAP + PAGES(2));
    MUST(sbrk(-(long)PAGES(2)), HEAP); /* all that there is */
    MUST(sbrk(-(long)PAGES(1)), HEAP); /* of nothing */
    MUST(sbrk(PAGES(4)), HEAP + PAGES(7));
    MUST(sbrk(INT64_MIN), HEAP);
    MUST(sbrk(PAGES(4)), HEAP + PAGES(7));
    fill(at(HEAP), 6, PAGES(7));
    sbrk(-(long)PAGES(1)); /* no block starts up there: none is freed */
    HOLDS(filled(at(HEAP), 6, PAGES(7)));
}

/* Memory goes round: more in all than the machine has. */
static void check_return(void)
{
    for (int i = 0; i < 40; i++) {
        u64 block = map(0, 0x3fff); /* 64 MiB */

        MUST(block, MMAP_TOP - PAGES(0x3fff));
        MUST(*at(block), 0);
        MUST(*at(block + PAGES(0x3fff) - 1), 0);
        *at(block) = *at(block + PAGES(0x3fff) - 1) = 1;
        MUST(unmap(block, 0x3fff), 0);
    }
}

void program(const u64 *x)
{
    (void)x;
    check_sizes();
    check_addresses();
    check_heap();
    check_return();
    leave(0x600d);
}
