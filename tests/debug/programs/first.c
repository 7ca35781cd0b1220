/* Passes a page on to second, which passes it on to third. */
#include "eapp.h"
#include "print.h"

static long told;

static long ask(const char *name, int *page)
{
    struct call_enclave_arg_t arg = {.req_arg = 5, .req_vaddr = (unsigned long)page, .req_size = PAGE_SIZE};

    if (call_enclave(acquire_enclave(name), &arg) != 0)
        return -1;
    told = arg.resp_val;
    return arg.resp_val;
}

int EAPP_ENTRY main()
{
    int *page = eapp_mmap(0, PAGE_SIZE);

    page[0] = 1000;
    long answer = ask("second", page);
    eapp_print("first: %ld\n", answer);
    EAPP_RETURN(answer);
}
