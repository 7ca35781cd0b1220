/* Turns pages that should be writable and executable from one to the other when they fault.
 *
 * Does what engine/quirks.py and engine/page_table.py do for enclaves; the reasons are there.
 */

#include "engine/native/quirks.h"
#include "engine/native/sv39.h"
#include "monitor/native/calls.h"

#define FLIPS (UINT64_C(3) << 8)   /* RSW: how often the page has flipped */
#define ONE_FLIP (UINT64_C(1) << 8)

struct access {
    uint64_t va, size; /* size 0: none */
};

static uint64_t bits(uint32_t word, int at, int count, int to) {
    return (uint64_t)(word >> at & ((1u << count) - 1)) << to;
}

/* What a store of 16 bits writes. */
static struct access compressed_store(uint32_t half, const uint64_t *x) {
    uint64_t base = x[8 + (half >> 7 & 7)], sp = x[2];
    switch (half >> 13 << 2 | (half & 3)) {
    case 6 << 2: return (struct access){base + bits(half, 10, 3, 3) + bits(half, 6, 1, 2) + bits(half, 5, 1, 6), 4};
    case 5 << 2:
    case 7 << 2: return (struct access){base + bits(half, 10, 3, 3) + bits(half, 5, 2, 6), 8};
    case 6 << 2 | 2: return (struct access){sp + bits(half, 9, 4, 2) + bits(half, 7, 2, 6), 4};
    case 5 << 2 | 2:
    case 7 << 2 | 2: return (struct access){sp + bits(half, 10, 3, 3) + bits(half, 7, 3, 6), 8};
    default: return (struct access){0, 0};
    }
}

/* The range that the store or atomic instruction writes, with the registers `x`; x0 is not read. */
static struct access store_of(uint32_t word, const uint64_t *x) {
    uint64_t base = word >> 15 & 31 ? x[word >> 15 & 31] : 0, size = UINT64_C(1) << (word >> 12 & 3);
    if ((word & 3) != 3) return compressed_store(word, x);
    switch (word & 0x7f) {
    case 0x23: /* integer */
    case 0x27: /* floating point */
        return (struct access){base + (uint64_t)((int32_t)word >> 25) * 32 + (word >> 7 & 31), size};
    case 0x2f: return (struct access){base, size};
    default: return (struct access){0, 0};
    }
}

/* Give a page the permission that its owner allows but that is off now. */
static int flip_page(struct hart *hart, const struct enclave *enclave, uint64_t va, uint64_t want) {
    uint64_t *entry = walk(hart, enclave->root, va);
    if (entry == NULL || !(*entry & PTE_V) || *entry & want) return 0;
    uint64_t pa = pte_address(*entry), page = (pa - hart->base) >> 12;
    if (!in_ram(hart, pa, PAGE)) return 0;
    if ((calls_of(hart)->owners[page] & (PRIVATE | BOTH)) != (PRIVATE | BOTH)) return 0;
    if ((*entry & FLIPS) == FLIPS)
        *entry |= PTE_W | PTE_X;
    else
        *entry = ((*entry & ~(PTE_W | PTE_X)) | want) + ONE_FLIP;
    wrote(hart, entry);
    if (*entry & PTE_X) hart->code[page] = 1;
    return 1;
}

static int flip_range(struct hart *hart, const struct enclave *enclave, uint64_t va, uint64_t size, uint64_t want) {
    int flipped = flip_page(hart, enclave, va, want);
    if (va + size - 1 > va && (va + size - 1) >> 12 != va >> 12) flipped |= flip_page(hart, enclave, va + size - 1, want);
    return flipped;
}

int flip(struct hart *hart, struct enclave *enclave, uint32_t cause) {
    uint64_t pc = hart_register(hart, PC) - 4; /* Unicorn's pc is after the instruction, taken to have four bytes */
    int flipped;
    if (cause == STORE_PAGE) {
        hart_save(hart);
        struct access access = store_of(fetch(hart, enclave->root, pc), hart->registers + X0);
        flipped = access.size && flip_range(hart, enclave, access.va, access.size, PTE_W);
    } else { /* Unicorn fetches a whole block first: the missing part may be in the next page */
        uint64_t next = (pc | (PAGE - 1)) + 1;
        flipped = flip_range(hart, enclave, pc, 4, PTE_X) || (next && flip_range(hart, enclave, next, 2, PTE_X));
    }
    if (!flipped) return 0;
    hart_flush(hart);
    hart_set(hart, PC, pc);
    hart->flips++;
    return 1;
}
