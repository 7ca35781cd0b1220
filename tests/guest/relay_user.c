/* An enclave that does with its relay pages what their first word says, and returns what it finds there at the end. */
#include "eapp.h"
#include "print.h"

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    volatile unsigned long *page = (volatile unsigned long *)args[13];
    struct call_enclave_arg_t sent = {.req_vaddr = args[13], .req_size = args[14]};

    if (!page)
        EAPP_RETURN(0);
    switch (page[0]) {
    case 1: /* keep it for a while */
        page[1] = 0x5ec2e7;
        for (int i = 0; i < 20; i++)
            eapp_yield();
        EAPP_RETURN(page[1]);
    case 2: /* send it to somebody who does not exist */
        EAPP_RETURN(asyn_enclave_call("nobody", &sent));
    case 3: /* return it, and go on with the next one */
        page[1] = 33;
        eapp_return_relay_page();
        EAPP_RETURN(page[1]);
    case 4: /* ask for more memory than there is */
        EAPP_RETURN((unsigned long)eapp_mmap(0, 1UL << 32));
    case 5:
        eapp_print("half a line");
        eapp_print("%s", "");
        eapp_print("a line\n");
        EAPP_RETURN(5);
    }
    EAPP_RETURN(page[0]);
}
