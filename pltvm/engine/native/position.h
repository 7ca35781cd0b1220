/* Where a run is, as a number of instructions: Python owns this structure (engine/counting.py). */

#ifndef PLTVM_POSITION_H
#define PLTVM_POSITION_H

#include "engine/native/hart.h"

/* A block whose code is as it was, while as many pages have flipped and translations were flushed as then. */
struct counted_block {
    uint64_t pc, size, satp, epoch, length;
};

enum { COUNTED_BLOCKS = 4096 };     /* that are remembered, each in its place */

struct counter {
    struct hart *hart;
    int (*stop)(void *engine);      /* leave the JIT at the block that the hook was called for */
    answer_function *next;          /* who answers traps */

    uint64_t count;                 /* instructions that have run before the block that was begun */
    uint64_t again;                 /* how many trapped without having run: Unicorn's own count has them */
    uint64_t pc, size, length;      /* of that block: address, bytes, instructions; 0: none was begun */
    uint64_t limit;                 /* stop before a block that would go further */
    uint64_t stopped;               /* whether that was done */

    struct counted_block *blocks;
    uint64_t epoch;                 /* more for whatever else may change code */

    /* Bytes that are watched, and as they were; where a block began in which they last changed. */
    const uint8_t *watched;
    uint64_t watched_size, changed_at;
    uint8_t was[64];

    /* Rows of root table, 0 for any, and address; where a block began that last had one of them. */
    const uint64_t *places;
    uint64_t place_count, reached_at;
};

/* The instructions from one address to another, which begin on one page. */
uint64_t instructions_between(const struct hart *hart, uint64_t from, uint64_t to);

#endif
