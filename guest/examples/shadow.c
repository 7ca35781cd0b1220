/* Shows what instances of a shadow enclave have in common: each starts with the memory as it was loaded.
 *
 * A normal enclave in every respect; whether it is a shadow enclave is up to the host that creates it.
 */
#include "eapp.h"
#include "print.h"

static const unsigned long table[4] = {1, 10, 100, 1000}; /* read only: one copy for all instances */
static unsigned long counter = 41;                        /* writable: each instance has its own */

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;

    counter += table[0];
    eapp_print("[shadow] number %lu, eid %lu, counter %lu\n", args[12], get_enclave_id(), counter);
    EAPP_RETURN(counter);
}
