/* The log of traps in a recording: Python owns these structures (monitor/log.py). */

#ifndef PLTVM_LOG_H
#define PLTVM_LOG_H

#include "engine/native/hart.h"

/* One trap, and the sum up to it. */
struct trap_row {
    uint64_t pc, a7, a0;
    uint32_t who;                   /* eid, or −1 for the host */
    uint16_t cause, filler;
    uint64_t sum;
};

/* Every trap enters `sum`; traps whose number is a multiple of mask + 1 have a row. When there is no room for
 * more, every second row is dropped. With `expected` rows, each trap is compared with the expected one, and there
 * must be no more than `expected_end` traps. */
struct trap_log {
    answer_function *next;          /* who answers traps */
    uint64_t sum, count, mask;
    struct trap_row *rows;
    uint64_t used, room;            /* rows */
    const struct trap_row *expected;
    uint64_t expected_count, expected_mask, expected_end;
    uint64_t differs;
};

#endif
