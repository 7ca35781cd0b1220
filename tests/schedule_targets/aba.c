/* A stack of free blocks without a lock: taken and given back by compare and swap.
 *
 * Bug: who takes reads the top and what is below, and swaps if the top is still that one. Meanwhile it may have been
 * taken, the one below too, and the top given back: the swap succeeds, and a block that is in use is free.
 *
 * explore: --callers 2 --fail-on-value
 * finds: value
 */
#include "chains.h"

#define BLOCKS 3
#define NONE 0xff

struct shared {
    lock_t begin;
    uint32_t there;
    uint32_t made;
    uint64_t top; /* the block, and in the fixed one how often it was changed */
    uint32_t below[BLOCKS];
    uint32_t users[BLOCKS];
};

static uint32_t take(struct shared *shared)
{
    uint64_t top = __atomic_load_n(&shared->top, __ATOMIC_ACQUIRE), next;
    uint32_t block;

    do {
        block = top & 0xff;
        if (block == NONE)
            return NONE;
        next = __atomic_load_n(&shared->below[block], __ATOMIC_ACQUIRE);
#ifdef FIXED
        next |= (top & ~0xffUL) + 0x100;
#endif
    } while (!__atomic_compare_exchange_n(&shared->top, &top, next, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    return block;
}

static void give(struct shared *shared, uint32_t block)
{
    uint64_t top = __atomic_load_n(&shared->top, __ATOMIC_ACQUIRE), next;

    do {
        __atomic_store_n(&shared->below[block], (uint32_t)(top & 0xff), __ATOMIC_RELEASE);
        next = block;
#ifdef FIXED
        next |= (top & ~0xffUL) + 0x100;
#endif
    } while (!__atomic_compare_exchange_n(&shared->top, &top, next, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
}

static int use(struct shared *shared, uint32_t block)
{
    return block != NONE && __atomic_fetch_add(&shared->users[block], 1, __ATOMIC_SEQ_CST) != 0;
}

static void done(struct shared *shared, uint32_t block)
{
    if (block == NONE)
        return;
    __atomic_fetch_sub(&shared->users[block], 1, __ATOMIC_SEQ_CST);
    give(shared, block);
}

int EAPP_ENTRY main()
{
    struct shared *shared = shared_memory();
    int twice = 0;

    lock(&shared->begin);
    if (!shared->made) {
        for (uint32_t i = 0; i < BLOCKS; i++)
            shared->below[i] = i + 1 < BLOCKS ? i + 1 : NONE;
        shared->made = 1;
    }
    unlock(&shared->begin);
    for (int i = 0; i < 3; i++) {
        uint32_t one = take(shared);
        twice += use(shared, one);
        uint32_t other = take(shared);
        twice += use(shared, other);
        done(shared, one);
        uint32_t again = take(shared);
        twice += use(shared, again);
        done(shared, again);
        done(shared, other);
    }
    EAPP_RETURN(twice);
}
