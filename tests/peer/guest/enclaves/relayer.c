/* Adds 1 to the first word of each relay page and returns the pages, three times; then keeps them to its exit. */
#include "bare.h"

void program(const u64 *x)
{
    volatile u64 *pages = (volatile u64 *)x[13];
    u64 count = x[14] / PAGE;

    MUST(x[13], RELAY_AT);
    for (int round = 0; round < 3; round++) {
        for (u64 i = 0; i < count; i++)
            pages[i * PAGE / 8]++;
        ocall(RETURN_RELAY, 0, 0, 0);
    }
    leave(pages[0]);
}
