/* The client of all targets: calls the server, and returns the sum of what that says is wrong. */
#include "chains.h"

int EAPP_ENTRY main()
{
    unsigned long server = acquire_enclave("target"), wrong = 0;

    for (unsigned long order = 0; order <= CALLS; order++) {
        struct call_enclave_arg_t arg = {.req_arg = order < CALLS ? order : LAST};

        while (call_enclave(server, &arg) == -2)
            eapp_yield();
        wrong += arg.resp_val;
    }
    EAPP_RETURN(wrong);
}
