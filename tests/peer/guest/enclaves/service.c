/* A server that gives back what it was passed and answers with its caller's number; it counts its calls. */
#include "bare.h"

static volatile u64 calls;

void program(const u64 *x)
{
    struct call_struct answer = {.resp_val = ++calls, .req_vaddr = x[11], .req_size = x[12]};

    MUST(x[2], STACK_TOP);
    HOLDS(call(CALLER_ID, 0, 0, 0) != FAILED);
    while (x[10] == 0x5714) /* for ever */
        ;
    if (x[11])
        *(volatile u64 *)x[11] += 1;
    call(RETURN, (u64)&answer, 0, 0);
}
