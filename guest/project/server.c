/* The server NAME: counts how often each client has called it. */
#include "NAME.h"

#include <errno.h>

#include "eapp.h"

#define CLIENTS 16

static struct {
    long client;
    unsigned long calls;
} counts[CLIENTS];

static long count(long client)
{
    for (int i = 0; i < CLIENTS; i++) {
        if (counts[i].calls == 0)
            counts[i].client = client;
        if (counts[i].client == client)
            return (long)++counts[i].calls;
    }
    return -ENOSPC;
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG; /* args[10] is what to do, args[11] and args[12] are the pages that came along */
    struct call_enclave_arg_t answer = {.req_vaddr = args[11], .req_size = args[12]};

    answer.resp_val = (unsigned long)(args[10] == COUNT ? count(get_caller_id()) : -ENOSYS);
    SERVER_RETURN(&answer);
}
