/* A server that calls "other" if its argument is odd, and breaks if that is 2 modulo 4. */
#include "eapp.h"

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t answer = {.resp_val = 0}, call = {.req_arg = args[10]};

    if (args[10] & 1)
        call_enclave((unsigned long)acquire_enclave("other"), &call);
    else if (args[10] & 2)
        __builtin_trap();
    answer.resp_val = call.resp_val;
    SERVER_RETURN(&answer);
}
