/* Where a run is, as a number of instructions: Python owns this structure (engine/counting.py). */

#ifndef PLTVM_POSITION_H
#define PLTVM_POSITION_H

#include "engine/native/hart.h"

/* A block whose code is unchanged while the numbers of flips and flushes are unchanged. */
struct counted_block {
    uint64_t pc, size, satp, epoch, length;
};

enum { COUNTED_BLOCKS = 4096 };     /* size of the table of blocks */

struct counter {
    struct hart *hart;
    int (*stop)(void *engine);      /* leave the JIT at the block that the hook was called for */
    answer_function *next;          /* the function that answers traps */

    uint64_t count;                 /* instructions that have run before the current block */
    uint64_t again;                 /* how many trapped without having run: they are in Unicorn's own count */
    uint64_t pc, size, length;      /* of the current block: address, bytes, instructions; 0: none */
    uint64_t limit;                 /* stop before a block that would pass this */
    uint64_t stopped;               /* whether that was done */

    struct counted_block *blocks;
    uint64_t epoch;                 /* is increased for anything else that may change code */

    /* Watched bytes, and their former values; the start of the block in which they last changed. */
    const uint8_t *watched;
    uint64_t watched_size, changed_at;
    uint8_t was[64];

    /* Rows of root table, 0 for any, and address; the start of the last block that contained one of them. */
    const uint64_t *places;
    uint64_t place_count, reached_at;
};

/* The instructions from one address to another, which begin on one page. */
uint64_t instructions_between(const struct hart *hart, uint64_t from, uint64_t to);

#endif
