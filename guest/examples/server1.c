/* The server test-server1, the middle of a chain: it adds 1 to each int it was given, passes the pages on to
 * test-server, and returns them with the pages that came back.
 */
#include "eapp.h"
#include "print.h"

#define FAILED -1UL

static unsigned long sum(unsigned long address, unsigned long size)
{
    const int *values = (const int *)address;
    unsigned long total = 0;

    for (unsigned long i = 0; i < size / sizeof(int); i++)
        total += values[i];
    return total;
}

/* Calls test-server with arg. A call that fails moves no pages. */
static int call(struct call_enclave_arg_t *arg)
{
    long handle = acquire_enclave("test-server");

    if (handle == -1) {
        eapp_print("[server1] there is no test-server: create it first\n");
        return 0;
    }

    long result = call_enclave(handle, arg);

    if (result != 0)
        eapp_print("[server1] the call failed: %ld%s\n", result, result == -2 ? " (the server is busy)" : "");
    return result == 0;
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    unsigned long req_arg = args[10];
    unsigned long req_vaddr = args[11];
    unsigned long req_size = args[12];

    if (req_vaddr) {
        int *values = (int *)req_vaddr;

        eapp_print("[server1] req sum 0x%lx\n", req_arg + sum(req_vaddr, req_size));
        for (unsigned long i = 0; i < req_size / sizeof(int); i++)
            values[i] += 1;
    }

    struct call_enclave_arg_t arg = {
        .req_arg = 0x19960000,
        .req_vaddr = req_vaddr,
        .req_size = req_vaddr ? req_size : 0,
    };

    if (call(&arg)) {
        eapp_print("[server1] value 0x%lx\n", arg.resp_val);
        if (arg.resp_vaddr)
            eapp_print("[server1] resp sum 0x%lx\n", arg.req_arg + sum(arg.resp_vaddr, arg.resp_size));
        arg.resp_val = 3;
    } else {
        arg.resp_val = FAILED;
    }

    SERVER_RETURN(&arg); /* req and resp are where the call left them: both go on to the caller */
}
