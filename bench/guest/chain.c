/* A link of a chain of servers n0, n1, ...: asked for depth d, it calls the server of depth d - 1. */
#include "eapp.h"

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    unsigned long depth = args[10], number = depth - 2;
    struct call_enclave_arg_t ret = {0};

    if (depth > 1) {
        struct call_enclave_arg_t next = {.req_arg = depth - 1};
        char name[16] = {'n'};
        int at = 1;
        if (number >= 10)
            name[at++] = '0' + number / 10;
        name[at] = '0' + number % 10;
        ret.resp_val = call_enclave(acquire_enclave(name), &next) ? 1 : next.resp_val;
    }
    SERVER_RETURN(&ret);
}
