/* A server that asks another one. */
#include "eapp.h"

static int calls;

static long ask(const char *name, unsigned long page, unsigned long size)
{
    struct call_enclave_arg_t arg = {.req_arg = 7, .req_vaddr = page, .req_size = size};

    calls++;
    return call_enclave(acquire_enclave(name), &arg) == 0 ? (long)arg.resp_val : -1;
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t ret = {0};

    ret.resp_val = args[10] + ask("third", args[11], args[12]);
    SERVER_RETURN(&ret);
}
