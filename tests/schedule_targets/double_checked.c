/* A table that the first call which needs it makes, under a lock; others look first whether it is there.
 *
 * Bug: the flag that says so is set before the table is made, so another slot may use half of it.
 *
 * explore: --callers 2 --server target=double_checked.c,concurrent --fail-on-value
 * finds: value
 */
#include "chains.h"

#define ENTRIES 8

static lock_t making;
static uint32_t made;
static volatile uint32_t table[ENTRIES];

static void make(void)
{
    if (__atomic_load_n(&made, __ATOMIC_ACQUIRE))
        return;
    lock(&making);
    if (!made) {
#ifndef FIXED
        __atomic_store_n(&made, 1, __ATOMIC_RELEASE);
#endif
        for (uint32_t i = 0; i < ENTRIES; i++)
            table[i] = i * i + 1;
#ifdef FIXED
        __atomic_store_n(&made, 1, __ATOMIC_RELEASE);
#endif
    }
    unlock(&making);
}

static unsigned long serve(unsigned long order)
{
    unsigned long wrong = 0;

    (void)order;
    make();
    for (uint32_t i = 0; i < ENTRIES; i++)
        wrong += table[i] != i * i + 1;
    return wrong;
}

SERVER(serve)
