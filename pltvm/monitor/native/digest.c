/* The rounds of the digest that measures enclaves (docs/penglai-abi.md, section 9), as `compress` in
 * monitor/digest.py: SM3 in 64-bit words that are never cut back to 32 bits.
 */

#include "engine/native/api.h"

typedef uint64_t word;

static inline word rotl(word x, unsigned n) { return (x & 0xffffffff) << n | x >> (32 - n); }
static inline word p0(word x) { return x ^ rotl(x, 9) ^ rotl(x, 17); }
static inline word p1(word x) { return x ^ rotl(x, 15) ^ rotl(x, 23); }

/* The constant of a round, rotated by its number: from 32 on the two parts of a rotation do not meet. */
static inline word constant(unsigned round)
{
    word t = round < 16 ? 0x79cc4519 : 0x7a879d8a;

    return t << round | t >> ((32 - round) & 63);
}

API void pltvm_digest_blocks(word state[8], const uint8_t *data, uint64_t blocks)
{
    for (; blocks; blocks--, data += 64) {
        word w[68], a = state[0], b = state[1], c = state[2], d = state[3];
        word e = state[4], f = state[5], g = state[6], h = state[7];

        for (unsigned j = 0; j < 16; j++)
            w[j] = (word)data[4 * j] << 24 | data[4 * j + 1] << 16 | data[4 * j + 2] << 8 | data[4 * j + 3];
        for (unsigned j = 16; j < 68; j++)
            w[j] = p1(w[j - 16] ^ w[j - 9] ^ rotl(w[j - 3], 15)) ^ rotl(w[j - 13], 7) ^ w[j - 6];
        for (unsigned j = 0; j < 64; j++) {
            word a12 = rotl(a, 12), ss1 = rotl(a12 + e + constant(j), 7), tt1, tt2;

            tt1 = (j < 16 ? a ^ b ^ c : (a & b) | (a & c) | (b & c)) + d + (ss1 ^ a12) + (w[j] ^ w[j + 4]);
            tt2 = (j < 16 ? e ^ f ^ g : (e & f) | (~e & g)) + h + ss1 + w[j];
            d = c, c = rotl(b, 9), b = a, a = tt1;
            h = g, g = rotl(f, 19), f = e, e = p0(tt2);
        }
        state[0] ^= a, state[1] ^= b, state[2] ^= c, state[3] ^= d;
        state[4] ^= e, state[5] ^= f, state[6] ^= g, state[7] ^= h;
    }
}
