/* The server counts its calls, in a number that all slots have.
 *
 * Bug: the number is read and written back in two steps. Who comes between is not counted.
 *
 * explore: --callers 2 --server target=lost_update.c,concurrent --fail-on-value
 * finds: value
 */
#include "chains.h"

static uint32_t number, there;

static unsigned long serve(unsigned long order)
{
    if (order == LAST) {
        meet(&there, 2);
        return number != 2 * CALLS;
    }
#ifdef FIXED
    __atomic_fetch_add(&number, 1, __ATOMIC_RELAXED);
#else
    *(volatile uint32_t *)&number += 1;
#endif
    return 0;
}

SERVER(serve)
