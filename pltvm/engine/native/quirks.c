/* Instructions that Unicorn takes for illegal ones, and a CPU does not: a part of engine/quirks.py.
 *
 * In C as programs execute them by the million: each trap that goes through Python costs as much as a thousand
 * instructions.
 */

#include "engine/native/quirks.h"
#include "engine/native/sv39.h"

enum { CYCLE = 0xc00, TIME = 0xc01, INSTRET = 0xc02, TICKS_A_READ = 100 };

uint32_t fetch(const struct hart *hart, uint64_t root, uint64_t pc) {
    const uint8_t *first = translate(hart, root, pc, PTE_X), *second = first + 2;
    uint16_t low, high = 0;
    if (first == NULL) return 0;
    memcpy(&low, first, 2);
    if ((low & 3) != 3) return low;
    if ((pc & (PAGE - 1)) == PAGE - 2) second = translate(hart, root, pc + 2, PTE_X);
    if (second == NULL) return 0;
    memcpy(&high, second, 2);
    return low | (uint32_t)high << 16;
}

/* Whether this reads one of the counters and does nothing else. All of them show one clock. */
static int reads_counter(uint32_t word) {
    uint32_t csr = word >> 20;
    return (word & 0x7f) == 0x73 && (word >> 12 & 2) && !(word >> 15 & 31) &&
           (csr == CYCLE || csr == TIME || csr == INSTRET);
}

int settle_illegal(struct hart *hart) {
    uint64_t pc = hart_register(hart, PC) - 4; /* Unicorn is behind it, and takes it to have four bytes */
    uint32_t word = fetch(hart, root_of(hart->registers[SATP]), pc);
    if (!reads_counter(word)) return 0;
    hart->clock += TICKS_A_READ;
    if (word >> 7 & 31) hart_set(hart, X0 + (word >> 7 & 31), hart->clock);
    return 1;
}
