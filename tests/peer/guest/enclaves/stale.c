/* Touches memory that it has given back. */
#include "bare.h"

void program(const u64 *x)
{
    volatile char *memory = (volatile char *)ocall(MMAP, 0, 4 * PAGE, 0);

    (void)x;
    memory[6 * PAGE] = 1;
    MUST(ocall(MUNMAP, (u64)memory, PAGE, 0), 0);
    memory[6 * PAGE] = 1;
    leave(0xbad);
}
