/* The server slots: lets others run in the middle of a function, with what it was asked on its stack. */
#include "threads.h"

static unsigned long number;

static unsigned long __attribute__((noinline)) add(unsigned long what)
{
    volatile unsigned long mine = what;

    eapp_yield();
    number += mine;
    return mine;
}

static unsigned long __attribute__((noinline)) twice(unsigned long what)
{
    return add(what) + add(what);
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t ret = {0};

    ret.resp_val = args[10] & 1 ? twice(args[10]) : add(args[10]);
    SERVER_RETURN(&ret);
}
