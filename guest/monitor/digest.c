/* The rounds of the digest that measures enclaves (docs/penglai-abi.md, section 9), for the monitor's own hart.
 *
 * SM3 in 64-bit words that are never cut back to 32 bits. pltvm/monitor/digest.py says it in Python, and runs this.
 * One function without data of its own: its machine code is pltvm/monitor/digest.bin, which starts here.
 */
#include <stdint.h>

typedef uint64_t word;

static inline word rotl(word x, int n) { return (x & 0xffffffff) << n | x >> (32 - n); }
static inline word p0(word x) { return x ^ rotl(x, 9) ^ rotl(x, 17); }
static inline word p1(word x) { return x ^ rotl(x, 15) ^ rotl(x, 23); }

/* `t` are the round constants, already rotated by their round; `w` is room for 68 words. */
__attribute__((section(".text.compress"))) void compress(word state[8], const uint8_t *data, word blocks,
                                                         const word t[64], word w[68])
{
    for (; blocks; blocks--, data += 64) {
        word a = state[0], b = state[1], c = state[2], d = state[3];
        word e = state[4], f = state[5], g = state[6], h = state[7];

        for (int j = 0; j < 16; j++)
            w[j] = (word)data[4 * j] << 24 | data[4 * j + 1] << 16 | data[4 * j + 2] << 8 | data[4 * j + 3];
        for (int j = 16; j < 68; j++)
            w[j] = p1(w[j - 16] ^ w[j - 9] ^ rotl(w[j - 3], 15)) ^ rotl(w[j - 13], 7) ^ w[j - 6];
        for (int j = 0; j < 64; j++) {
            word a12 = rotl(a, 12), ss1 = rotl(a12 + e + t[j], 7), tt1, tt2;

            tt1 = (j < 16 ? a ^ b ^ c : (a & b) | (a & c) | (b & c)) + d + (ss1 ^ a12) + (w[j] ^ w[j + 4]);
            tt2 = (j < 16 ? e ^ f ^ g : (e & f) | (~e & g)) + h + ss1 + w[j];
            d = c, c = rotl(b, 9), b = a, a = tt1;
            h = g, g = rotl(f, 19), f = e, e = p0(tt2);
        }
        state[0] ^= a, state[1] ^= b, state[2] ^= c, state[3] ^= d;
        state[4] ^= e, state[5] ^= f, state[6] ^= g, state[7] ^= h;
    }
    __asm__ volatile("wfi");
}
