/* An enclave, not a host program: it never ends. For test-stop.c.
 *
 * Given memory shared with the host, it counts in the first u64 of it.
 */
#include "eapp.h"

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    static unsigned long own;
    volatile unsigned long *counter = args[10] ? (volatile unsigned long *)args[10] : &own;

    for (;;)
        ++*counter;
}
