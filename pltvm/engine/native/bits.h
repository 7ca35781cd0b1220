/* Instructions that Unicorn's CPU lacks: Zba, Zbb, Zbs, Zicond and Zcb. */

#ifndef PLTVM_BITS_H
#define PLTVM_BITS_H

#include "engine/native/api.h"

/* A load or store of Zcb: address, size, kind and register. */
struct bits_access {
    uint64_t address; /* virtual, of the first byte */
    uint8_t size;     /* bytes: 1 or 2 */
    uint8_t is_signed;
    uint8_t is_store;
    uint8_t reg; /* 8 to 15 */
};

/* Run an instruction that changes only registers. Returns its length in bytes, 2 or 4, or 0 and no change for
 * others. `word` holds its bytes from the lowest on; bits above a compressed instruction are ignored. x[0] is
 * taken as zero and never written. */
int bits_execute(uint32_t word, uint64_t x[32]);

/* Decode a load or store of Zcb into `out`: returns 1, or 0 and leaves `out` unchanged for others. */
int bits_memory(uint32_t word, const uint64_t x[32], struct bits_access *out);

/* The index of the first instruction that Unicorn skips silently (Zcb, and reserved encodings beside it) in
 * `count` halves of code; `count` when there is none. */
size_t bits_skipped(const uint16_t *code, size_t count);

#endif
