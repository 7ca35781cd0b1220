/* Runs for ever. */
#include "bare.h"

void program(const u64 *x)
{
    (void)x;
    for (volatile u64 count = 0;;)
        count = count + 1;
}
