/* Sv39 page tables in RAM: the walk, as engine/sv39.py has it.
 *
 * 63      54 53                                   10 9   8 7 6 5 4 3 2 1 0
 * | reserved |          physical page number        | RSW |D A G U X W R V|
 */

#ifndef PLTVM_SV39_H
#define PLTVM_SV39_H

#include "engine/native/hart.h"

enum pte { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16, PTE_A = 64, PTE_D = 128 };

#define PAGE UINT64_C(4096)
#define PTE_PPN (((UINT64_C(1) << 44) - 1) << 10)
#define ASID_MASK (UINT64_C(0xffff) << 44)

static inline uint64_t pte_address(uint64_t pte) { return (pte & PTE_PPN) << 2; }

/* The physical address of the root table that satp names. */
static inline uint64_t root_of(uint64_t satp) { return (satp & ((UINT64_C(1) << 44) - 1)) << 12; }

/* The last-level entry for `va` below a root table; NULL where no table holds one. */
static inline uint64_t *walk(const struct hart *hart, uint64_t root, uint64_t va) {
    uint64_t table = root;
    if (va >> 38 != 0 && va >> 38 != (1u << 26) - 1) return NULL;
    for (int shift = 30; shift > 12; shift -= 9) {
        if (!in_ram(hart, table, PAGE)) return NULL;
        uint64_t pte = ((uint64_t *)at(hart, table))[va >> shift & 511];
        if ((pte & (PTE_V | PTE_R | PTE_W | PTE_X)) != PTE_V) return NULL;
        table = pte_address(pte);
    }
    return in_ram(hart, table, PAGE) ? (uint64_t *)at(hart, table) + (va >> 12 & 511) : NULL;
}

/* The host pointer for `va` if its page is mapped for user mode with all of `flags`; NULL if not, or outside RAM. */
static inline void *translate(const struct hart *hart, uint64_t root, uint64_t va, uint64_t flags) {
    uint64_t *entry = walk(hart, root, va), needed = flags | PTE_V | PTE_U;
    if (entry == NULL || (*entry & needed) != needed || !in_ram(hart, pte_address(*entry), PAGE)) return NULL;
    return (uint8_t *)at(hart, pte_address(*entry)) + (va & (PAGE - 1));
}

#endif
