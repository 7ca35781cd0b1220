/* A packet that one call puts into memory and another one takes: it looks whether the size is right, and copies.
 *
 * Bug: the size is read once to be checked, and once more to be used. Another slot changes it between the two.
 *
 * explore: --callers 2 --server target=check_then_act.c,concurrent
 * finds: fault
 */
#include <stdlib.h>

#include "chains.h"

#define ROOM 16

static uint32_t packet_size;
static uint8_t bytes[256];

static int receive(void)
{
    uint8_t copy[ROOM];
    uint32_t size = __atomic_load_n(&packet_size, __ATOMIC_ACQUIRE);

    if (size > ROOM)
        return -1;
#ifndef FIXED
    size = __atomic_load_n(&packet_size, __ATOMIC_ACQUIRE);
#endif
    if (size > ROOM)
        abort(); /* it would overwrite the stack */
    for (uint32_t i = 0; i < size; i++)
        ((volatile uint8_t *)copy)[i] = __atomic_load_n(&bytes[i], __ATOMIC_ACQUIRE);
    return copy[0];
}

static unsigned long serve(unsigned long order)
{
    if (who_calls())
        return receive() < -1;
    __atomic_store_n(&packet_size, order % 2 ? 200 : 8, __ATOMIC_RELEASE);
    return 0;
}

SERVER(serve)
