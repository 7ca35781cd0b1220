/* Calls a server so many times. While there is no room in it, it lets others run, or waits in line.
 *
 * Shared memory: u64 calls, rounds of work in each, whether to wait; its name, 16 bytes. */
#include "eapp.h"
#include "threads.h"

struct order {
    unsigned long calls, rounds, waits;
    char server[16];
};

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct order *order = (struct order *)args[10];
    long server = acquire_enclave(order->server);

    for (unsigned long i = 0; i < order->calls; i++) {
        struct call_enclave_arg_t arg = {.req_arg = order->rounds};
        long result;
        while ((result = order->waits ? call_enclave_wait(server, &arg) : call_enclave(server, &arg)) == -2)
            eapp_yield();
        if (result || arg.resp_val != order->rounds)
            EAPP_RETURN(1);
    }
    EAPP_RETURN(0);
}
