/* Works on relay pages, gives half of them away and returns the rest to the host.
 *
 * The first page stays, and what lies behind it goes to whichever enclave is called "relay-next": the host runs that
 * one later with the pages bound to its name. Nothing is copied, and at any time one side alone can see a page. This
 * same program serves as the next one too: with one page it keeps the page. Then it returns its page, and goes on
 * when the host has sent it new ones.
 */
#include "eapp.h"
#include "print.h"

#define NEXT "relay-next"

static unsigned long first_of(const void *page)
{
    return *(const volatile unsigned long *)page;
}

static long pass_on(unsigned long address, unsigned long size)
{
    struct call_enclave_arg_t arg = {.req_vaddr = address, .req_size = size};

    return asyn_enclave_call(NEXT, &arg);
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    unsigned long relay = args[13];
    unsigned long size = args[14];

    if (!relay || !size) {
        eapp_print("[relay] no relay pages\n");
        EAPP_RETURN(1);
    }
    eapp_print("[relay] %lu pages, the first starts with %lu\n", size / PAGE_SIZE, first_of((void *)relay));

    if (size > PAGE_SIZE) {
        if (split_mem_region(relay, size, relay + PAGE_SIZE) || pass_on(relay + PAGE_SIZE, size - PAGE_SIZE)) {
            eapp_print("[relay] the pages could not be passed on\n");
            EAPP_RETURN(1);
        }
        eapp_print("[relay] passed on %lu pages\n", size / PAGE_SIZE - 1);
    }

    *(unsigned long *)relay += 1;
    if (eapp_return_relay_page()) {
        eapp_print("[relay] the page could not be returned\n");
        EAPP_RETURN(1);
    }
    eapp_print("[relay] back, the new page starts with %lu\n", first_of((void *)relay));
    EAPP_RETURN(0);
}
