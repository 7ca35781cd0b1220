/* A store that has one call at a time: one number. GET gives it, ADD adds one, anything else is its new value.
 *
 * Bug: its client asks for the number, and puts back one more. Each call is whole, but what both are for is not:
 * another client may come between the two.
 *
 * explore: --callers 2 --server target=two_calls.c --client two_calls_client.c --fail-on-value
 * finds: value
 */
#include "eapp.h"

enum { GET = 1000, ADD = 2000 };

static unsigned long number;

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    unsigned long order = args[10];
    struct call_enclave_arg_t ret = {0};

    if (order == ADD)
        number++;
    else if (order != GET)
        number = order;
    ret.resp_val = number;
    SERVER_RETURN(&ret);
}
