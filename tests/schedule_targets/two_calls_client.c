/* The client of two_calls.c: counts what it has done in the store. */
#include "chains.h"

enum { GET = 1000, ADD = 2000 };

static unsigned long call(unsigned long handle, unsigned long order)
{
    struct call_enclave_arg_t arg = {.req_arg = order};

    while (call_enclave(handle, &arg) == -2)
        eapp_yield();
    return arg.resp_val;
}

int EAPP_ENTRY main()
{
    uint32_t *there = eapp_shm_get(1, PAGE_SIZE, 0);
    unsigned long store = acquire_enclave("target");

    for (int i = 0; i < CALLS; i++) {
#ifdef FIXED
        call(store, ADD);
#else
        call(store, call(store, GET) + 1);
#endif
    }
    meet(there, 2);
    EAPP_RETURN(call(store, GET) != 2 * CALLS);
}
