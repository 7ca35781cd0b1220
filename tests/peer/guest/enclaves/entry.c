/* Checks section 2, tells what it was given, and does what the host program says through shared memory.
 *
 * shared memory, in u64: [0] heartbeat  [1] command  [2] value to exit with  [8...] x10...x14 and sp at entry
 * Without shared memory it exits with 0x600d when it was given none at all.
 */
#include "bare.h"

enum command { GO_ON = 0, LEAVE = 1, FAULT = 2, UNKNOWN_CALL = 3, OTHER_CONVENTION = 4 };

static volatile u64 in_bss[600];
static volatile u64 in_data[600] = {1};

void program(const u64 *x)
{
    volatile u64 *shared = (volatile u64 *)x[10];

    MUST(x[2], STACK_TOP);
    MUST(in_data[0], 1);
    MUST(in_bss[599], 0);
    in_bss[599] = in_data[599] = 7;
    if (!shared)
        leave(x[11] ? 0xbad : 0x600d);
    for (int i = 0; i < 5; i++)
        shared[8 + i] = x[10 + i];
    shared[13] = x[2];
    for (;; shared[0]++) {
        u64 command = shared[1];

        switch (command) {
        case LEAVE:
            leave(shared[2]);
        case FAULT:
            *(volatile u64 *)0x2000000000UL = 1; /* between heap and mmap area */
            break;
        case UNKNOWN_CALL:
            call(55, 0, 0, 0);
            break;
        case OTHER_CONVENTION:
            MUST(raw(0, 29, 1, 0x5413, x[2], 0), 0); /* the C library's ioctl on its stdout goes on */
            raw(0x100102, 90, 0, 0, 0, 0);
            break;
        }
        if (command != GO_ON)
            leave(0xbad);
    }
}
