/* Calls the server "count" once, and returns what it gives. */
#include "eapp.h"

int EAPP_ENTRY main()
{
    struct call_enclave_arg_t call = {.req_arg = 1};

    call_enclave((unsigned long)acquire_enclave("count"), &call);
    EAPP_RETURN(call.resp_val);
}
