/* A packet in memory that its sender still has: the receiver looks whether its size is right, and copies it.
 *
 * Bug: the size is read once to be checked, and once more to be used. The sender changes it between the two.
 *
 * explore: --callers 2
 * finds: fault
 */
#include <stdlib.h>

#include "chains.h"

#define ROOM 16

struct shared {
    uint32_t next;
    uint32_t size;
    uint8_t bytes[256];
};

static int receive(struct shared *shared)
{
    uint8_t copy[ROOM];
    uint32_t size = __atomic_load_n(&shared->size, __ATOMIC_ACQUIRE);

    if (size > ROOM)
        return -1;
#ifndef FIXED
    size = __atomic_load_n(&shared->size, __ATOMIC_ACQUIRE);
#endif
    if (size > ROOM)
        abort(); /* it would overwrite the stack */
    for (uint32_t i = 0; i < size; i++)
        ((volatile uint8_t *)copy)[i] = __atomic_load_n(&shared->bytes[i], __ATOMIC_ACQUIRE);
    return copy[0];
}

int EAPP_ENTRY main()
{
    struct shared *shared = shared_memory();
    uint32_t me = my_number(&shared->next);

    for (uint32_t i = 0; i < 6; i++) {
        if (me == 0)
            __atomic_store_n(&shared->size, i % 2 ? 200 : 8, __ATOMIC_RELEASE);
        else
            receive(shared);
    }
    EAPP_RETURN(0);
}
