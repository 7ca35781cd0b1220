/* The log of traps that a recording has: Python owns these (monitor/log.py). */

#ifndef PLTVM_LOG_H
#define PLTVM_LOG_H

#include "engine/native/hart.h"

/* One trap: what it was, and the sum of all that was noted up to it. */
struct trap_row {
    uint64_t pc, a7, a0;
    uint32_t who;                   /* eid, or −1 for the host */
    uint16_t cause, filler;
    uint64_t sum;
};

/* Every trap counts in `sum`; of those whose number is a multiple of mask + 1 there is a row. When there is no
 * room for more, every second one stays. With `expected` rows, it is looked whether each is as expected, and that
 * there are no more than `expected_end` traps. */
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
