/* malloc and free of a checked program: gaps around blocks, and freed ones that are not used again for long.
 *
 *     arena:  | struct arena | shadow | block | block | ... unused |
 *     block:  | struct block (poisoned) | memory given out ... | gap (poisoned), at least GAP bytes |
 *
 * The first arena is in the image, others are mappings. Freed blocks wait in a queue until more than QUARANTINE bytes
 * do; then they are given out again for sizes of the same class. Blocks are never split or joined.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "eapp.h"

#define FIRST_ARENA (64UL << 10) /* bytes in the image, for which nobody has to be asked */
#define SECOND_ARENA 32 /* pages, less one: the host takes a power of two and keeps a page (ABI section 4) */
#define LAST_ARENA 256
#define QUARANTINE (256UL << 10)
#define GAP 16
#define CLASSES 48
#define LARGEST (1UL << 40)

struct arena *arenas;

static struct block *unused[CLASSES];
static struct block *oldest, *newest;
static size_t waiting;

/* A class for each size up to 1 KiB, 64 bytes apart, then one for each power of two. */
static unsigned class_of(size_t *total)
{
    if (*total <= 1024) {
        *total = (*total + 63) & -64UL;
        return (unsigned)(*total / 64);
    }

    unsigned power = 11;

    while (1UL << power < *total)
        power++;
    *total = 1UL << power;
    return 6 + power;
}

static void add(struct arena *arena, size_t size, uintptr_t start)
{
    arena->start = (start + 63) & -64UL;
    arena->used = arena->start;
    arena->end = (uintptr_t)arena + size;
    arena->next = arenas;
    arenas = arena;
    poison(arena->start, arena->end - arena->start, HEAP_GAP);
}

static bool grow(size_t total)
{
    static struct arena first[FIRST_ARENA / sizeof(struct arena)];
    static size_t pages = SECOND_ARENA;

    if (!arenas) {
        add(first, sizeof first, (uintptr_t)(first + 1)); /* its shadow is that of the image */
        if (arenas->end - arenas->used >= total)
            return true;
    }

    /* One part in GRANULE of the whole is its shadow; start is rounded up by less than 64. */
    size_t needed = (sizeof(struct arena) + total + 64) / (GRANULE - 1) * GRANULE + GRANULE;
    size_t size = (pages - 1) * PAGE_SIZE;

    if (size < needed)
        size = (needed + PAGE_SIZE - 1) & -PAGE_SIZE;
    if (pages < LAST_ARENA)
        pages *= 2;

    struct arena *arena = eapp_mmap(NULL, size);

    if (!arena)
        return false;

    arena->shadow = (unsigned char *)(arena + 1);
    add(arena, size, (uintptr_t)arena->shadow + size / GRANULE);
    return true;
}

static struct block *take(size_t size, size_t state)
{
    size_t total = sizeof(struct block) + ((size + GRANULE - 1) & -(size_t)GRANULE) + GAP;
    unsigned class = class_of(&total);
    struct block *block = unused[class];

    if (block) {
        unused[class] = block->next;
    } else {
        if ((!arenas || arenas->end - arenas->used < total) && !grow(total))
            return NULL;
        block = (struct block *)arenas->used;
        arenas->used += total;
        block->total = total;
    }
    block->size = size;
    block->state = state;
    return block;
}

void *take_for_frames(size_t size)
{
    struct block *block = take(size, BLOCK_OF_FRAMES);

    return block ? block + 1 : NULL;
}

struct block *block_near(uintptr_t address)
{
    for (struct arena *arena = arenas; arena; arena = arena->next)
        for (uintptr_t at = arena->start; at < arena->used; at += ((struct block *)at)->total)
            if (address - at < ((struct block *)at)->total)
                return (struct block *)at;
    return NULL;
}

void walk_calls(uintptr_t *calls, struct caller caller)
{
    uintptr_t pc = caller.pc, frame = caller.frame;

    for (int i = 0; i < CALLS; i++) {
        calls[i] = pc;
        if (frame <= caller.sp - 1 || frame > EAPP_STACK_TOP || frame % GRANULE) {
            pc = frame = 0;
            continue;
        }
        pc = ((uintptr_t *)frame)[-1];
        frame = ((uintptr_t *)frame)[-2];
    }
}

static void *allocate(size_t size, struct caller caller)
{
    if (size > LARGEST)
        return NULL;

    struct block *block = take(size, BLOCK_USED);

    if (!block)
        return NULL;
    walk_calls(block->allocated, caller);
    for (int i = 0; i < CALLS; i++) /* memset would be checked */
        block->freed[i] = 0;
    unpoison((uintptr_t)(block + 1), size);
    return block + 1;
}

/* The oldest waiting blocks may be given out again, as too many bytes wait. */
static void release(void)
{
    while (waiting > QUARANTINE) {
        struct block *block = oldest;
        size_t total = block->total;
        unsigned class = class_of(&total);

        oldest = block->next;
        waiting -= total;
        block->state = BLOCK_FREE;
        block->next = unused[class];
        unused[class] = block;
    }
}

static struct block *block_of(void *memory, struct caller caller)
{
    struct block *block = block_near((uintptr_t)memory);

    if (!block || memory != block + 1 || block->state != BLOCK_USED)
        report_free(memory, block, caller);
    return block;
}

static void give_back(void *memory, struct caller caller)
{
    if (!memory || reporting)
        return;

    struct block *block = block_of(memory, caller);

    walk_calls(block->freed, caller);
    poison((uintptr_t)memory, block->size ? block->size : 1, HEAP_FREED);
    block->state = BLOCK_QUARANTINED;
    block->next = NULL;
    if (waiting)
        newest->next = block;
    else
        oldest = block;
    newest = block;
    waiting += block->total;
    release();
}

void *malloc(size_t size)
{
    return allocate(size, CALLER);
}

void free(void *memory)
{
    give_back(memory, CALLER);
}

void *calloc(size_t count, size_t size)
{
    size_t total;

    if (__builtin_mul_overflow(count, size, &total))
        return NULL;

    void *memory = allocate(total, CALLER);

    if (memory)
        memset(memory, 0, total);
    return memory;
}

void *realloc(void *memory, size_t size)
{
    if (!memory)
        return allocate(size, CALLER);

    struct block *block = block_of(memory, CALLER);
    void *moved = allocate(size, CALLER); /* always: what still points to the old block is wrong */

    if (moved) {
        memcpy(moved, memory, size < block->size ? size : block->size);
        give_back(memory, CALLER);
    }
    return moved;
}
