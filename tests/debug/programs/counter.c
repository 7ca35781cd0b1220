/* A server that counts up by what it is called with. */
#include "eapp.h"

static long count;

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    count += (long)args[10];
    struct call_enclave_arg_t ret = {.resp_val = count, .req_vaddr = args[11], .req_size = args[12]};
    SERVER_RETURN(&ret);
}
