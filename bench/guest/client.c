/* Makes one kind of call over and over. Shared memory says which and how often, and takes the result:
 *   u64 operation, count, pages, result
 */
#include "eapp.h"
#include "print.h"

enum { NOTHING, ENCLAVE_ID, ACQUIRE, CALL, PRINT, MMAP_MUNMAP };

struct order {
    unsigned long operation, count, pages, result;
};

static long call(long server, void *area, unsigned long size)
{
    struct call_enclave_arg_t arg = {.req_vaddr = (unsigned long)area, .req_size = area ? size : 0};
    return call_enclave(server, &arg) || arg.req_vaddr != (unsigned long)area;
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    volatile struct order *order = (struct order *)args[10];
    unsigned long size = order->pages * PAGE_SIZE, failures = 0;
    void *area = order->pages ? eapp_mmap(0, size) : 0;
    long server = order->operation == CALL ? acquire_enclave("bench") : 0;

    for (unsigned long i = 0; i < order->count; i++) {
        switch (order->operation) {
        case ENCLAVE_ID: failures += get_enclave_id() > 1000000; break;
        case ACQUIRE: failures += acquire_enclave("bench") < 0; break;
        case CALL: failures += call(server, area, size); break;
        case PRINT: eapp_print("0123456789abcdef\n"); break;
        case MMAP_MUNMAP: {
            void *mapping = eapp_mmap(0, PAGE_SIZE);
            failures += !mapping || eapp_munmap(mapping, PAGE_SIZE);
            break;
        }
        }
    }
    order->result = failures;
    EAPP_RETURN(failures);
}
