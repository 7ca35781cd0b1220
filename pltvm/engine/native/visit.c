/* Every entry of a page table, in order: what engine/sv39.py's `visit` gives.
 *
 * In C because the tables of each new enclave are visited, and nearly all entries of a table are empty.
 */

#include "engine/native/sv39.h"

struct row {
    uint64_t level, va, pte, slot;
};

struct visit {
    const uint8_t *ram;
    uint64_t base, size;
    struct row *rows;
    int64_t count, room;
};

enum { OUTSIDE = -1, NO_ROOM = -2 };

static int visit_table(struct visit *visit, uint64_t table, uint64_t level, uint64_t va) {
    if (table - visit->base >= visit->size || visit->size - (table - visit->base) < PAGE) return OUTSIDE;
    const uint64_t *entries = (const uint64_t *)(const void *)(visit->ram + (table - visit->base));
    for (uint64_t i = 0; i < 512; i++) {
        uint64_t pte = entries[i], here = va | i << (30 - 9 * level);
        if (!(pte & PTE_V)) continue;
        if (level == 0 && i >= 256) here |= UINT64_C(0xffffff8000000000);
        if (visit->count == visit->room) return NO_ROOM;
        visit->rows[visit->count++] = (struct row){level, here, pte, table + 8 * i};
        if (level == 2 || pte & (PTE_R | PTE_W | PTE_X)) continue;
        int how = visit_table(visit, pte_address(pte), level + 1, here);
        if (how) return how;
    }
    return 0;
}

/* Find the entries below a root table, at most `room`; returns their number, or an error. */
API int64_t pltvm_visit(const uint8_t *ram, uint64_t base, uint64_t size, uint64_t root, void *rows, int64_t room) {
    struct visit visit = {ram, base, size, rows, 0, room};
    int how = visit_table(&visit, root, 0, 0);
    return how ? how : visit.count;
}
