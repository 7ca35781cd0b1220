/* Calls the server ledger three times: to set a name, to get its length, to add to an entry. */
#include "eapp.h"
#include "print.h"

static long ask(long ledger, unsigned long what)
{
    struct call_enclave_arg_t arg = {.req_arg = what};

    return call_enclave(ledger, &arg) == 0 ? (long)arg.resp_val : -1;
}

int EAPP_ENTRY main()
{
    long ledger = acquire_enclave("ledger");

    for (unsigned long what = 1; what <= 3; what++)
        eapp_print("%lu: %ld\n", what, ask(ledger, what));
    EAPP_RETURN(0);
}
