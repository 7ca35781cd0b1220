/* What the targets share: a lock that yields, a place to meet, and what makes a server of a function. */
#ifndef CHAINS_H
#define CHAINS_H

#include <stdint.h>

#include "eapp.h"

#define CALLS 4  /* that each client makes, with the orders 0 to 3 */
#define LAST 100 /* and one more, for what is to be looked at when all are done */

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

/* Wait until so many slots have come here. */
static inline void meet(uint32_t *there, uint32_t slots)
{
    __atomic_add_fetch(there, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(there, __ATOMIC_SEQ_CST) < slots)
        eapp_yield();
}

/* Which of two clients calls: 0 or 1. */
static inline int who_calls(void)
{
    return get_caller_id() & 1;
}

/* The server of this function: it gets the order, and gives a value, 0 if all is well. */
#define SERVER(serve)                                          \
    int EAPP_ENTRY main()                                      \
    {                                                          \
        unsigned long *args;                                   \
        EAPP_RESERVE_REG;                                      \
        struct call_enclave_arg_t ret = {0};                   \
        ret.resp_val = serve(args[10]);                        \
        SERVER_RETURN(&ret);                                   \
    }

#endif
