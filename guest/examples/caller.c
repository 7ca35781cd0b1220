/* Calls a server, gives it four pages, and gets them and four others back.
 *
 * The server is test-server1 (server1.c), which calls test-server (server.c) in its turn; without it, test-server.
 * Pages are never copied: they leave one enclave and appear in the other.
 *
 * Given memory shared with the host, or relay pages, the first int in each is printed.
 */
#include "eapp.h"
#include "print.h"

#define SIZE (4 * PAGE_SIZE)

static unsigned long sum(unsigned long address, unsigned long size)
{
    const int *values = (const int *)address;
    unsigned long total = 0;

    for (unsigned long i = 0; i < size / sizeof(int); i++)
        total += values[i];
    return total;
}

static long find_server(void)
{
    long handle = acquire_enclave("test-server1");

    return handle != -1 ? handle : acquire_enclave("test-server");
}

static int call(void)
{
    long handle = find_server();

    if (handle == -1) {
        eapp_print("[caller] there is no test-server1 and no test-server: create one first\n");
        return 1;
    }

    int *request = eapp_mmap(NULL, SIZE);

    if (!request) {
        eapp_print("[caller] no memory for the request\n");
        return 1;
    }
    for (unsigned long i = 0; i < SIZE / sizeof(int); i++)
        request[i] = 1;

    struct call_enclave_arg_t arg = {
        .req_arg = 0x19960000,
        .req_vaddr = (unsigned long)request,
        .req_size = SIZE,
    };
    long result = call_enclave(handle, &arg);

    if (result != 0) {
        eapp_print("[caller] the call failed: %ld%s\n", result, result == -2 ? " (the server is busy)" : "");
        return 1;
    }
    if (!arg.req_vaddr || !arg.resp_vaddr) {
        eapp_print("[caller] the server failed: value 0x%lx, and not all pages came back\n", arg.resp_val);
        return 1;
    }

    eapp_print("[caller] value 0x%lx\n", arg.resp_val);
    eapp_print("[caller] req sum 0x%lx\n", sum(arg.req_vaddr, arg.req_size));
    eapp_print("[caller] resp sum 0x%lx\n", sum(arg.resp_vaddr, arg.resp_size));
    return 0;
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    const int *shared = (const int *)args[10];
    unsigned long shared_size = args[11];
    const int *relay = (const int *)args[13];
    unsigned long relay_size = args[14];

    if (shared && shared_size)
        eapp_print("[caller] shared memory starts with %d\n", shared[0]);
    if (relay && relay_size)
        eapp_print("[caller] relay page starts with %d\n", relay[0]);

    EAPP_RETURN(call());
}
