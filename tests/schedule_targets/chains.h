/* What the targets share: memory of all chains, a spin lock that yields, and a barrier for their ends. */
#ifndef CHAINS_H
#define CHAINS_H

#include <stdint.h>

#include "eapp.h"

#define KEY 4711

/* The memory that all chains of a run have, zero at first; one page. */
static inline void *shared_memory(void)
{
    return eapp_shm_get(KEY, PAGE_SIZE, 0);
}

typedef struct {
    uint32_t taken;
} lock_t;

static inline void lock(lock_t *lock)
{
    while (__atomic_exchange_n(&lock->taken, 1, __ATOMIC_ACQUIRE))
        eapp_yield();
}

static inline void unlock(lock_t *lock)
{
    __atomic_store_n(&lock->taken, 0, __ATOMIC_RELEASE);
}

/* The number of this chain: 0 for the first one that asks, and so on. */
static inline uint32_t my_number(uint32_t *next)
{
    return __atomic_fetch_add(next, 1, __ATOMIC_SEQ_CST);
}

/* Wait until so many chains have come here. */
static inline void meet(uint32_t *there, uint32_t chains)
{
    __atomic_add_fetch(there, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(there, __ATOMIC_SEQ_CST) < chains)
        eapp_yield();
}

#endif
