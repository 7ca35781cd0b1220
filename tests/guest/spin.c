/* As a normal enclave: calls the server "spin". As a server: never returns. */
#include "eapp.h"

int EAPP_ENTRY main()
{
    struct call_enclave_arg_t arg = {0};
    if (get_caller_id() == -1 && acquire_enclave("spin") >= 0) EAPP_RETURN(call_enclave(acquire_enclave("spin"), &arg));
    for (volatile int i = 0;; i++);
}
