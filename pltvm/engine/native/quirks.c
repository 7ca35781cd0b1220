/* Instructions that are illegal for Unicorn but not for a CPU: a part of engine/quirks.py.
 *
 * In C because programs execute millions of them, and each trap through Python costs as much as a thousand
 * instructions.
 */

#include "engine/native/quirks.h"
#include "engine/native/bits.h"
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

/* Whether PMP lets user mode access this byte: see engine/emulate.py. */
static int allows(const struct hart *hart, uint64_t pa, uint64_t permission) {
    for (uint64_t row = 0; row < hart->rows; row++) {
        const uint64_t *span = hart->protection + 3 * row;
        if (span[0] <= pa && pa < span[1]) return (span[2] & permission) != 0;
    }
    return 0;
}

/* The place of a byte for a load or store, with A and D set as by hardware; NULL if Python decides. */
static uint8_t *reach(struct hart *hart, uint64_t va, int is_store) {
    uint64_t root = root_of(hart->registers[SATP]), *entry = walk(hart, root, va);
    uint64_t needed = PTE_V | PTE_R | PTE_U | (is_store ? PTE_W : 0), seen = PTE_A | (is_store ? PTE_D : 0);
    if (entry == NULL || (*entry & needed) != needed) return NULL;
    uint64_t pa = pte_address(*entry) | (va & (PAGE - 1));
    if (!in_ram(hart, pa, 8) || hart->code[(pa - hart->base) >> 12]) return NULL;
    for (uint64_t table = root, shift = 30; shift > 12; shift -= 9) {
        uint64_t at_level = table + (va >> shift & 511) * 8;
        if (!allows(hart, at_level, 1)) return NULL;
        table = pte_address(*(uint64_t *)at(hart, at_level));
    }
    if (!allows(hart, address(hart, entry), 1) || !allows(hart, pa, is_store ? 2 : 1)) return NULL;
    if ((*entry & seen) != seen) {
        *entry |= seen;
        wrote(hart, entry);
    }
    return at(hart, pa);
}

/* A load or store of Zcb, inside one page. */
static int move_bytes(struct hart *hart, uint32_t word, const uint64_t *x, uint64_t pc) {
    struct bits_access access;
    if (!bits_memory(word, x, &access)) return 0;
    if ((access.address & (PAGE - 1)) + access.size > PAGE) return 0;
    uint8_t *where = reach(hart, access.address, access.is_store);
    if (where == NULL) return 0;
    if (access.is_store) {
        memcpy(where, x + access.reg, access.size); /* of little-endian numbers the lowest bytes */
        wrote(hart, where);
    } else {
        uint64_t value = access.size == 1 ? where[0] : where[0] | (uint64_t)where[1] << 8;
        if (access.is_signed && access.size == 2) value = (uint64_t)(int64_t)(int16_t)value;
        hart_set(hart, X0 + access.reg, value);
    }
    hart_set(hart, PC, pc + 2);
    return 1;
}

int settle_illegal(struct hart *hart) {
    uint64_t pc = hart_register(hart, PC) - 4; /* Unicorn's pc is after it, taking it to have four bytes */
    uint32_t word = fetch(hart, root_of(hart->registers[SATP]), pc);
    if (!word) return 0;
    if (reads_counter(word)) {
        hart->clock += TICKS_A_READ;
        if (word >> 7 & 31) hart_set(hart, X0 + (word >> 7 & 31), hart->clock);
        return 1;
    }
    uint64_t x[32] = {0};
    void *values[32];
    for (int i = 1; i < 32; i++) values[i] = x + i;
    hart->read_batch(hart->engine, hart->ids + X0 + 1, values + 1, 31);
    int length = bits_execute(word, x), target = length == 4 ? word >> 7 & 31 : 8 + (word >> 7 & 7);
    if (!length) return move_bytes(hart, word, x, pc);
    if (target) hart_set(hart, X0 + target, x[target]);
    if (length == 2) hart_set(hart, PC, pc + 2);
    return 1;
}
