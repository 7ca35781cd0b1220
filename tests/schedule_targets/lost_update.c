/* Chains that count what they have done, in a number that all have.
 *
 * Bug: the number is read and written back in two steps. Who comes between is not counted.
 *
 * explore: --callers 2 --fail-on-value
 * finds: value
 */
#include "chains.h"

#define CHAINS 2
#define TIMES 10

struct shared {
    uint32_t there;
    uint32_t number;
};

int EAPP_ENTRY main()
{
    struct shared *shared = shared_memory();

    for (int i = 0; i < TIMES; i++) {
#ifdef FIXED
        __atomic_fetch_add(&shared->number, 1, __ATOMIC_RELAXED);
#else
        *(volatile uint32_t *)&shared->number += 1;
#endif
    }
    meet(&shared->there, CHAINS);
    EAPP_RETURN(shared->number != CHAINS * TIMES);
}
