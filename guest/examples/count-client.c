/* Adds to the server counter as often as the memory shared with the host says: u64 operation, u64 times. If there is a
 * server front the calls go through that. Returns what the counter is then.
 */
#include "counter.h"
#include "threads.h"

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    unsigned long *order = (unsigned long *)args[10];
    long server = acquire_enclave("front");
    struct call_enclave_arg_t arg = {0};

    if (server == -1)
        server = acquire_enclave(COUNTER_SERVER);
    for (unsigned long i = 0; i < order[1]; i++) {
        arg.req_arg = order[0];
        if (call_enclave_wait((unsigned long)server, &arg) != 0)
            EAPP_RETURN(-1UL);
    }
    EAPP_RETURN(arg.resp_val);
}
