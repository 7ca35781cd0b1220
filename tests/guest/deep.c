/* The server deep calls itself as long as there is room; gives how often it could. */
#include "threads.h"

int EAPP_ENTRY main()
{
    struct call_enclave_arg_t arg = {0}, ret = {0};

    if (call_enclave((unsigned long)acquire_enclave("deep"), &arg) == 0)
        ret.resp_val = arg.resp_val + 1;
    SERVER_RETURN(&ret);
}
