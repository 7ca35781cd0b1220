/* Splits four relay pages and sends the second, and then the two behind it, to the name "collector". */
#include "bare.h"

static const char name[16] = "collector";

static u64 send(u64 address, u64 size)
{
    struct call_struct arg = {.req_vaddr = address, .req_size = size};

    return call(ASYNCHRONOUS, (u64)name, (u64)&arg, 0);
}

void program(const u64 *x)
{
    u64 pages = x[13];

    MUST(pages, RELAY_AT);
    MUST(x[14], 4 * PAGE);
    MUST(call(SPLIT, pages, 4 * PAGE, pages + 100), FAILED);
    MUST(call(SPLIT, pages, 4 * PAGE, pages + PAGE), 0);
    MUST(call(SPLIT, pages + PAGE, 3 * PAGE, pages + 2 * PAGE), 0);
    MUST(send(pages + PAGE, PAGE), 0);
    MUST(send(pages + 2 * PAGE, 2 * PAGE), 0);
    MUST(send(pages + PAGE, PAGE), FAILED); /* it has gone */
    *(volatile u64 *)pages += 1000;
    leave(0x600d);
}
