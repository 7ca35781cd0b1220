/* A stack of free blocks without a lock: taken and given back by compare and swap.
 *
 * Bug: who takes reads the top and what is below, and swaps if the top is still that one. Meanwhile it may have been
 * taken, the one below too, and the top given back: the swap succeeds, and a block that is in use is free.
 *
 * explore: --callers 2 --server target=aba.c,concurrent --fail-on-value
 * finds: value
 */
#include "chains.h"

#define BLOCKS 3
#define NONE 0xff

static lock_t begin;
static uint32_t made;
static uint64_t top = NONE; /* the block, and in the fixed one how often it was changed */
static uint32_t below[BLOCKS];
static uint32_t users[BLOCKS];

static uint32_t take(void)
{
    uint64_t seen = __atomic_load_n(&top, __ATOMIC_ACQUIRE), next;
    uint32_t block;

    do {
        block = seen & 0xff;
        if (block == NONE)
            return NONE;
        next = __atomic_load_n(&below[block], __ATOMIC_ACQUIRE);
#ifdef FIXED
        next |= (seen & ~0xffUL) + 0x100;
#endif
    } while (!__atomic_compare_exchange_n(&top, &seen, next, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    return block;
}

static void give(uint32_t block)
{
    uint64_t seen = __atomic_load_n(&top, __ATOMIC_ACQUIRE), next;

    do {
        __atomic_store_n(&below[block], (uint32_t)(seen & 0xff), __ATOMIC_RELEASE);
        next = block;
#ifdef FIXED
        next |= (seen & ~0xffUL) + 0x100;
#endif
    } while (!__atomic_compare_exchange_n(&top, &seen, next, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
}

static int use(uint32_t block)
{
    return block != NONE && __atomic_fetch_add(&users[block], 1, __ATOMIC_SEQ_CST) != 0;
}

static void done(uint32_t block)
{
    if (block == NONE)
        return;
    __atomic_fetch_sub(&users[block], 1, __ATOMIC_SEQ_CST);
    give(block);
}

static void prepare(void)
{
    lock(&begin);
    if (!made) {
        for (uint32_t i = 0; i < BLOCKS; i++)
            below[i] = i + 1 < BLOCKS ? i + 1 : NONE;
        __atomic_store_n(&top, 0, __ATOMIC_RELEASE);
        made = 1;
    }
    unlock(&begin);
}

static unsigned long serve(unsigned long order)
{
    unsigned long twice = 0;

    if (order == LAST)
        return 0;
    prepare();
    uint32_t one = take();
    twice += use(one);
    uint32_t other = take();
    twice += use(other);
    done(one);
    one = take();
    twice += use(one);
    done(one);
    done(other);
    return twice;
}

SERVER(serve)
