/* Asks for more memory than the host has, and tries again for ever, as the original's library does. */
#include "bare.h"

void program(const u64 *x)
{
    (void)x;
#ifdef HEAP_TOO
    while (ocall(SBRK, 1UL << 31, 0, 0) == FAILED)
        ;
#else
    while (ocall(MMAP, 0, 1UL << 31, 0) == 0)
        ;
#endif
    leave(0xbad);
}
