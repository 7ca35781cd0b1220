/* Adds 10 to the server counter, one by one and without its lock. Memory shared with the host may say otherwise: u64
 * operation, u64 times; then the calls go through the server front, if there is one. Returns what the counter is then.
 */
#include "counter.h"
#include "threads.h"

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    static const unsigned long usual[] = {COUNTER_ADD, 10};
    const unsigned long *order = args[11] ? (unsigned long *)args[10] : usual;
    long server = args[11] ? acquire_enclave("front") : -1;
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
