/* malloc and free on memory from sbrk: a list of free blocks in address order.
 *
 *     block:  | size in bytes, header included | next free block, or USED | memory given out ... |
 *
 * malloc takes the first block that is large enough and cuts off the surplus; free puts a block back and
 * joins it with its neighbours. Sizes and addresses are multiples of 16, the size of the header.
 *
 * The heap grows by at least 15 pages at a time: the host takes a power-of-two block of pages and keeps one for its
 * record, so 15 is a size that wastes nothing (ABI section 4). It can grant more than was asked for, which the
 * returned top of the heap shows. The heap never shrinks.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "eapp.h"
#include "lock.h"

struct block {
    size_t size;
    struct block *next;
};

#define HEADER sizeof(struct block)
#define USED ((struct block *)0x75736564UL) /* "used"; odd as an address, so no free block has it */
#define LARGEST (1UL << 46)                 /* more than Sv39 has: keeps the sums below from overflowing */
#define GROWTH (15 * PAGE_SIZE)

static struct block *free_list;

static size_t round_up(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

static struct block *end_of(struct block *block)
{
    return (struct block *)((char *)block + block->size);
}

static void insert(struct block *block)
{
    struct block *before = NULL, *after = free_list;

    while (after && after < block) {
        before = after;
        after = after->next;
    }

    block->next = after;
    if (after && end_of(block) == after) {
        block->size += after->size;
        block->next = after->next;
    }

    if (!before) {
        free_list = block;
    } else if (end_of(before) == block) {
        before->size += block->size;
        before->next = block->next;
    } else {
        before->next = block;
    }
}

/* Takes a block of at least size bytes out of the list, or returns NULL. */
static struct block *take(size_t size)
{
    for (struct block **link = &free_list; *link; link = &(*link)->next) {
        struct block *block = *link;

        if (block->size < size)
            continue;
        if (block->size - size > HEADER) {
            struct block *rest = (struct block *)((char *)block + size);

            rest->size = block->size - size;
            rest->next = block->next;
            block->size = size;
            *link = rest;
        } else {
            *link = block->next;
        }
        block->next = USED;
        return block;
    }
    return NULL;
}

static int grow(size_t size)
{
    uintptr_t old_top = (uintptr_t)eapp_sbrk(0);
    uintptr_t new_top = (uintptr_t)eapp_sbrk((long)size);

    if (old_top == UINTPTR_MAX || new_top == UINTPTR_MAX || new_top <= old_top)
        return 0;

    struct block *block = (struct block *)old_top;

    block->size = new_top - old_top;
    insert(block);
    return 1;
}

void *malloc(size_t size)
{
    LOCKED;
    if (size > LARGEST)
        return NULL;
    size = round_up(size + HEADER, HEADER);

    struct block *block = take(size);

    if (!block && ((size < GROWTH && grow(GROWTH)) || grow(round_up(size, PAGE_SIZE))))
        block = take(size);
    return block ? block + 1 : NULL;
}

static struct block *block_of(void *memory)
{
    struct block *block = (struct block *)memory - 1;

    if (block->next != USED)
        abort(); /* freed twice, never allocated, or overwritten */
    return block;
}

void free(void *memory)
{
    LOCKED;
    if (memory)
        insert(block_of(memory));
}

void *calloc(size_t count, size_t size)
{
    size_t total;

    if (__builtin_mul_overflow(count, size, &total))
        return NULL;

    void *memory = malloc(total);

    if (memory)
        memset(memory, 0, total);
    return memory;
}

void *realloc(void *memory, size_t size)
{
    if (!memory)
        return malloc(size);

    size_t old_size = block_of(memory)->size - HEADER;

    if (size <= old_size)
        return memory;

    void *moved = malloc(size);

    if (moved) {
        memcpy(moved, memory, old_size);
        free(memory);
    }
    return moved;
}
