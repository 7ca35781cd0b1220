/* A server without a bug that keeps the struct of its calls: it trusts what it has not written to be what it was.
 *
 * The struct is alone in its pages, so that only the monitor writes there, when a call comes back. ACROSS: it
 * lies across the end of a page. TOUCHED: the server writes to the page before the call.
 */
#include "eapp.h"

struct kept {
#ifdef ACROSS
    char before[PAGE_SIZE - 24];
#endif
    struct call_enclave_arg_t arg;
};

static union {
    struct kept kept;
    char pages[2 * PAGE_SIZE];
} data __attribute__((aligned(PAGE_SIZE))) = {.kept.arg = {.req_arg = 3, .req_size = 5, .resp_size = 11}};

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    volatile struct call_enclave_arg_t *arg = &data.kept.arg;
    struct call_enclave_arg_t answer = {.req_vaddr = args[11], .req_size = args[12]};

    if (arg->resp_val != 0 || arg->resp_size != 11 || arg->req_size != 5)
        __builtin_trap();
#ifdef TOUCHED
    arg->req_arg = 4;
#endif
    call_enclave((unsigned long)acquire_enclave("other"), &data.kept.arg);
    answer.resp_val = arg->resp_val;
    if (arg->resp_size == 11 || arg->resp_val == 0)
        __builtin_trap(); /* the call has come back, and gave something */
    SERVER_RETURN(&answer);
}
