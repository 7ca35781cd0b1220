/* Calls the server "service" with a mapping; exits with the number of calls that the server counts.
 *
 * With shared memory its first word is told 1 before the call, and the second is the argument.
 */
#include "bare.h"

static const char name[16] = "service";

void program(const u64 *x)
{
    volatile u64 *shared = (volatile u64 *)x[10];
    u64 handle = call(ACQUIRE, (u64)name, 0, 0), pages = ocall(MMAP, 0, 3 * PAGE, 0);
    struct call_struct arg = {.req_arg = shared ? shared[1] : 0, .req_vaddr = pages, .req_size = 3 * PAGE};

    if (handle == FAILED)
        leave(0xdead);
    *(volatile u64 *)pages = 41;
    if (shared)
        shared[0] = 1;
    MUST(call(CALL, handle, (u64)&arg, 0), 0);
    MUST(arg.req_vaddr, pages);
    MUST(*(volatile u64 *)pages, 42);
    MUST(arg.resp_vaddr, 0);
    MUST(arg.resp_size, 0);
    leave(arg.resp_val);
}
