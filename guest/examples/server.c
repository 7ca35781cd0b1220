/* The server test-server: sums the pages it was given, and returns them and four pages of its own.
 *
 * A server starts at its entry on every call; its memory stays as it was.
 */
#include "eapp.h"
#include "print.h"

#define SIZE (4 * PAGE_SIZE)

static unsigned long sum(const int *values, unsigned long size)
{
    unsigned long total = 0;

    for (unsigned long i = 0; i < size / sizeof(int); i++)
        total += values[i];
    return total;
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    unsigned long req_arg = args[10];
    unsigned long req_vaddr = args[11];
    unsigned long req_size = args[12];
    struct call_enclave_arg_t ret = {.resp_val = 2};

    if (req_vaddr) {
        eapp_print("[server] req sum 0x%lx\n", req_arg + sum((const int *)req_vaddr, req_size));
        ret.req_vaddr = req_vaddr;
        ret.req_size = req_size;
    }

    int *response = eapp_mmap(NULL, SIZE);

    if (response) {
        for (unsigned long i = 0; i < SIZE / sizeof(int); i++)
            response[i] = 2;
        eapp_print("[server] resp sum 0x%lx\n", req_arg + sum(response, SIZE));
        ret.resp_vaddr = (unsigned long)response;
        ret.resp_size = SIZE;
    } else {
        eapp_print("[server] no memory for the response\n");
    }

    SERVER_RETURN(&ret);
}
