/* The server "counter": adds to a number in two steps, and gives it. */
#include "eapp.h"

static volatile unsigned long number;

int EAPP_ENTRY main()
{
    struct call_enclave_arg_t ret = {0};
    unsigned long seen = number;

    for (volatile int i = 0; i < 20; i++)
        ;
    number = seen + 1;
    ret.resp_val = number;
    SERVER_RETURN(&ret);
}
