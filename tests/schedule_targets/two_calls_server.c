/* The store: one number. GET gives it, ADD adds one, and anything else is its new value. */
#include "eapp.h"

enum { GET = 1000, ADD = 2000 };

static unsigned long number;

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    unsigned long order = args[10];
    struct call_enclave_arg_t ret = {0};

    if (order == ADD)
        number++;
    else if (order != GET)
        number = order;
    ret.resp_val = number;
    SERVER_RETURN(&ret);
}
