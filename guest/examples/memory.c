/* Uses every way to get memory and checks what comes back. Prints "memory: ok", or the check that failed. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "eapp.h"
#include "print.h"

#define SIZE (4 * PAGE_SIZE)
#define BLOCKS 64

#define CHECK(condition)                                    \
    do {                                                    \
        if (!(condition)) {                                 \
            eapp_print("memory: failed: %s\n", #condition); \
            EAPP_RETURN(1);                                 \
        }                                                   \
    } while (0)

static int filled_with(const unsigned char *memory, unsigned char value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (memory[i] != value)
            return 0;
    return 1;
}

static void check_mmap(void)
{
    unsigned char *first = eapp_mmap(NULL, SIZE);
    unsigned char *second = eapp_mmap(NULL, SIZE);

    CHECK(first != NULL);
    CHECK(second != NULL);
    CHECK((uintptr_t)first % PAGE_SIZE == 0);
    CHECK(first + SIZE <= second || second + SIZE <= first);
    CHECK(filled_with(first, 0, SIZE));
    memset(first, 1, SIZE);
    memset(second, 2, SIZE);
    CHECK(filled_with(first, 1, SIZE));

    CHECK(eapp_munmap(first, SIZE) == 0);
    CHECK(filled_with(second, 2, SIZE));
    CHECK(eapp_munmap(first, SIZE) == -1);

    first = eapp_mmap(NULL, SIZE);
    CHECK(first != NULL);
    CHECK(filled_with(first, 0, SIZE));
    CHECK(eapp_munmap(first, SIZE) == 0);
    CHECK(eapp_munmap(second, SIZE) == 0);
}

static void check_sbrk(void)
{
    char *start = eapp_sbrk(0);
    char *top = eapp_sbrk(PAGE_SIZE);

    CHECK(top != (char *)-1);
    CHECK((size_t)(top - start) >= PAGE_SIZE);
    CHECK(eapp_sbrk(0) == top);
    CHECK(filled_with((unsigned char *)start, 0, top - start));
    memset(start, 3, top - start);
    CHECK(eapp_sbrk(100) == (void *)-1);
    CHECK(eapp_sbrk(-(top - start)) == start);
}

static void check_malloc(void)
{
    static unsigned char *blocks[BLOCKS];

    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(100 * i);
        CHECK(blocks[i] != NULL);
        CHECK((uintptr_t)blocks[i] % 16 == 0);
        memset(blocks[i], i, 100 * i);
    }
    void *top = eapp_sbrk(0);

    for (int i = 0; i < BLOCKS; i += 2)
        free(blocks[i]);
    for (int i = 1; i < BLOCKS; i += 2) {
        CHECK(filled_with(blocks[i], i, 100 * i));
        blocks[i] = realloc(blocks[i], 50 * i);
        CHECK(blocks[i] != NULL && filled_with(blocks[i], i, 50 * i));
        blocks[i] = realloc(blocks[i], 102 * i);
        CHECK(blocks[i] != NULL && filled_with(blocks[i], i, 50 * i));
    }
    for (int i = 1; i < BLOCKS; i += 2)
        free(blocks[i]);

    /* Freed neighbours are one block again: almost the sum of all of them fits without more heap. */
    unsigned char *large = calloc(100 * BLOCKS, BLOCKS / 2 - 1);

    CHECK(large != NULL);
    CHECK(filled_with(large, 0, 100 * BLOCKS * (BLOCKS / 2 - 1)));
    CHECK(eapp_sbrk(0) == top);
    free(large);

    CHECK(malloc(SIZE_MAX) == NULL);
    CHECK(malloc(1UL << 40) == NULL);
    CHECK(calloc(SIZE_MAX / 2, 3) == NULL);
}

int EAPP_ENTRY main()
{
    check_mmap();
    check_sbrk();
    check_malloc();
    eapp_print("memory: ok\n");
    EAPP_RETURN(0);
}
