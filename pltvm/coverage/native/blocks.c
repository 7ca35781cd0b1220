/* The hook for coverage: counts each block of code of an enclave, as coverage/blocks.py does.
 *
 * In C because it is called a hundred million times a second.
 */

#include "coverage/native/blocks.h"
#include "monitor/native/calls.h"

API void pltvm_cover_block(void *engine, uint64_t pc, uint32_t size, struct block_table *blocks) {
    (void)engine;
    uint64_t running = globals_of(blocks->hart)->running;
    if (!running) return; /* a program of the host, or its kernel */
    uint32_t eid = enclave_at(blocks->hart, running)->eid;
    uint64_t hash = (pc ^ (uint64_t)eid << 40 ^ (uint64_t)size << 56) * 0x9E3779B97F4A7C15u;
    uint64_t at = hash >> 32 & (blocks->rows - 1);
    struct block_row *row;
    while ((row = &blocks->table[at])->count) {
        if (row->pc == pc && row->eid == eid && row->size == size) {
            row->count++;
            return;
        }
        at = (at + 1) & (blocks->rows - 1);
    }
    if (blocks->used == blocks->most) {
        blocks->full();
        at = hash >> 32 & (blocks->rows - 1);
    }
    blocks->taken[blocks->used++] = (uint32_t)at;
    blocks->table[at] = (struct block_row){.pc = pc, .count = 1, .eid = eid, .size = size};
}
