/* A client of the server NAME: calls it three times. */
#include <stdio.h>

#include "NAME.h"
#include "eapp.h"

int EAPP_ENTRY main()
{
    long server = acquire_enclave(SERVER);
    unsigned long calls = 0;

    if (server < 0) {
        printf("there is no server %s\n", SERVER);
        return 1;
    }
    for (int i = 0; i < 3; i++) {
        struct call_enclave_arg_t call = {.req_arg = COUNT};

        if (call_enclave((unsigned long)server, &call) != 0)
            return 2;
        calls = call.resp_val;
    }
    printf("called %lu times\n", calls);
    return 0;
}
