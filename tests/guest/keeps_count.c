/* A server that counts its calls. */
#include "eapp.h"

static volatile unsigned long count;

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    (void)args;
    struct call_enclave_arg_t answer = {.resp_val = ++count};
    SERVER_RETURN(&answer);
}
