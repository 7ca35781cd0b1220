/* Clients of a store that has one call at a time: each asks for a number, and puts back one more.
 *
 * Bug: each call is whole, but what both are for is not: another client may come between the two.
 *
 * explore: --callers 2 --server store=two_calls_server.c --fail-on-value
 * finds: value
 */
#include "chains.h"

#define CHAINS 2
#define TIMES 4

enum { GET = 1000, ADD = 2000 };

struct shared {
    uint32_t there;
};

static unsigned long call(unsigned long handle, unsigned long order)
{
    struct call_enclave_arg_t arg = {.req_arg = order};

    while (call_enclave(handle, &arg) == -2)
        eapp_yield();
    return arg.resp_val;
}

int EAPP_ENTRY main()
{
    struct shared *shared = shared_memory();
    unsigned long store = acquire_enclave("store");

    for (int i = 0; i < TIMES; i++) {
#ifdef FIXED
        call(store, ADD);
#else
        call(store, call(store, GET) + 1);
#endif
    }
    meet(&shared->there, CHAINS);
    EAPP_RETURN(call(store, GET) != CHAINS * TIMES);
}
