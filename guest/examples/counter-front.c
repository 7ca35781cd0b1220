/* The server front: passes each call on to the server counter, and waits for room in it. Both are concurrent servers. */
#include "counter.h"
#include "threads.h"

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t arg = {.req_arg = args[10]}, ret = {0};
    long failed = call_enclave_wait(acquire_enclave(COUNTER_SERVER), &arg);

    ret.resp_val = failed ? (unsigned long)failed : arg.resp_val;
    SERVER_RETURN(&ret);
}
