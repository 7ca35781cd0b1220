/* A table that the first chain which needs it makes, under a lock; the others look first whether it is there.
 *
 * Bug: the flag that says so is set before the table is made, so another chain may use half of it.
 *
 * explore: --callers 2 --fail-on-value
 * finds: value
 */
#include "chains.h"

#define ENTRIES 8

struct shared {
    lock_t lock;
    uint32_t made;
    uint32_t table[ENTRIES];
};

static void make(struct shared *shared)
{
    if (__atomic_load_n(&shared->made, __ATOMIC_ACQUIRE))
        return;
    lock(&shared->lock);
    if (!shared->made) {
#ifndef FIXED
        __atomic_store_n(&shared->made, 1, __ATOMIC_RELEASE);
#endif
        for (uint32_t i = 0; i < ENTRIES; i++)
            ((volatile uint32_t *)shared->table)[i] = i * i + 1;
#ifdef FIXED
        __atomic_store_n(&shared->made, 1, __ATOMIC_RELEASE);
#endif
    }
    unlock(&shared->lock);
}

int EAPP_ENTRY main()
{
    struct shared *shared = shared_memory();
    int wrong = 0;

    make(shared);
    for (uint32_t i = 0; i < ENTRIES; i++)
        wrong += ((volatile uint32_t *)shared->table)[i] != i * i + 1;
    EAPP_RETURN(wrong);
}
