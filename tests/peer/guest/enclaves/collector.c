/* Sums the first words of the relay pages that it was given, and adds 1000 to each. */
#include "bare.h"

void program(const u64 *x)
{
    volatile u64 *pages = (volatile u64 *)x[13];
    u64 sum = 0;

    if (!x[13])
        leave(0); /* nothing has come */
    MUST(x[13], RELAY_AT);
    for (u64 i = 0; i < x[14] / PAGE; i++) {
        sum += pages[i * PAGE / 8];
        pages[i * PAGE / 8] += 1000;
    }
    leave(sum);
}
