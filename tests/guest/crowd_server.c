/* A server for many callers, of either type: gives the number of the call, and twice what it was asked.
 *
 * req_arg odd: in the middle it lets the host run others. resp_val: number << 32 | 2 * req_arg; −1: something of another
 * slot was seen.
 */
#include "threads.h"

static unsigned long calls;
static _Thread_local unsigned long mine;

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    unsigned long asked = args[10], number = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    volatile unsigned long stack[64];
    struct call_enclave_arg_t ret = {.resp_val = number << 32};
    int alone = mine == 0;

    for (int i = 0; i < 64; i++)
        stack[i] = asked;
    mine = asked;
    if (asked & 1)
        eapp_yield();
    for (int i = 0; i < 64; i++)
        alone &= stack[i] == asked;
    ret.resp_val |= 2 * mine;
    if (!alone)
        ret.resp_val = -1UL;
    SERVER_RETURN(&ret);
}
