/* An instance of a shadow enclave: what is written in one is not seen in the others.
 *
 * Exits with what it found in its memory: 100 for what was loaded, and 0x1000000 more if it was given shared memory.
 */
#include "bare.h"

static volatile u64 counter = 100;
static const volatile u64 table[1024] = {[1023] = 5};

void program(const u64 *x)
{
    u64 found = counter++;

    MUST(x[2], STACK_TOP);
    MUST(table[1023], 5);
    HOLDS(x[12] < 5); /* a running number modulo 5 */
    HOLDS(filled((volatile char *)STACK_TOP - 0x10000, 0, 0x8000)); /* a fresh stack of 64 KiB */
    for (int i = 0; i < 3; i++)
        call(YIELD, 0, 0, 0);
    MUST(counter, found + 1);
    leave(found + (x[10] || x[11] ? 0x1000000 : 0));
}
