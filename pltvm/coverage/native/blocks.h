/* Counts of executed blocks by enclave: shared by Python and the hook in blocks.c.
 *
 * `table` is a hash table with linear probing; a row whose count is 0 is free. `full` empties it.
 */

#ifndef PLTVM_BLOCKS_H
#define PLTVM_BLOCKS_H

#include "engine/native/hart.h"

struct block_row {
    uint64_t pc, count;
    uint32_t eid, size;             /* size: bytes */
};

struct block_table {
    struct hart *hart;
    struct block_row *table;
    uint32_t *taken;                /* numbers of the used rows */
    uint64_t rows;                  /* a power of two */
    uint64_t used, most;            /* used rows: at most `most`, which is less than all rows */
    void (*full)(void);
};

#endif
