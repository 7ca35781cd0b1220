/* A server whose calls take a while: as many rounds of two instructions as the argument says. */
#include "eapp.h"

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    unsigned long rounds = args[10];
    for (unsigned long i = 0; i < rounds; i++)
        __asm__ volatile("");
    struct call_enclave_arg_t ret = {.resp_val = rounds};
    SERVER_RETURN(&ret);
}
