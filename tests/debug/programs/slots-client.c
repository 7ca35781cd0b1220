/* Calls the server slots twice, with numbers of its own. */
#include "threads.h"

int EAPP_ENTRY main()
{
    struct call_enclave_arg_t arg = {.req_arg = 100 + get_enclave_id()};
    unsigned long server = (unsigned long)acquire_enclave("slots");

    call_enclave_wait(server, &arg);
    arg.req_arg++;
    call_enclave_wait(server, &arg);
    EAPP_RETURN(arg.resp_val);
}
