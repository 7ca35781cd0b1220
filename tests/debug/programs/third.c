/* A server that computes. */
#include "eapp.h"

static int total;

static int add(int what)
{
    total += what;
    return total;
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t ret = {.req_vaddr = args[11], .req_size = args[12]};
    const int *page = (const int *)args[11];

    for (int i = 0; i < 5; i++)
        add(i * (int)args[10]);
    ret.resp_val = add(page[0]);
    SERVER_RETURN(&ret);
}
