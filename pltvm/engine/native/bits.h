/* Instructions that Unicorn's CPU lacks: Zba, Zbb, Zbs, Zicond and Zcb. */

#ifndef PLTVM_BITS_H
#define PLTVM_BITS_H

#include "engine/native/api.h"

/* A load or store of Zcb: what it moves between which register and memory. */
struct bits_access {
    uint64_t address; /* virtual, of the first byte */
    uint8_t size;     /* bytes: 1 or 2 */
    uint8_t is_signed;
    uint8_t is_store;
    uint8_t reg; /* 8 to 15 */
};

/* Run an instruction that changes registers alone: its length in bytes, 2 or 4, or 0 when it is none of those
 * and nothing has changed. `word` holds its bytes from the lowest on; what is above a compressed one does not
 * matter. x[0] is taken for zero and never written. */
int bits_execute(uint32_t word, uint64_t x[32]);

/* What a load or store of Zcb wants: 1, or 0 when it is none, and `out` is as it was. */
int bits_memory(uint32_t word, const uint64_t x[32], struct bits_access *out);

/* The index of the first instruction, in `count` halves of code that begin with one, that Unicorn runs as if it
 * did nothing: Zcb, and what is reserved beside it. `count` when there is none. */
size_t bits_skipped(const uint16_t *code, size_t count);

#endif
