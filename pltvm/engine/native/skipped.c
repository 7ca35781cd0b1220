/* Searches translated blocks for instructions that Unicorn would skip: see engine/skipped.py.
 *
 * In C because every new block of every program is examined, and almost none has one. Those that do go to Python.
 */

#include "engine/native/bits.h"
#include "engine/native/sv39.h"

/* A translated block, as Unicorn reports it. */
struct translated {
    uint64_t pc;
    uint16_t instructions, size; /* size in bytes */
};

static int has_skipped(const struct hart *hart, const struct translated *block) {
    uint64_t root = root_of(hart->registers[SATP]), first = PAGE - (block->pc & (PAGE - 1));
    const uint16_t *code = translate(hart, root, block->pc, PTE_X);
    if (code == NULL) return 0;
    size_t count = block->size / 2;
    if (block->size <= first) return bits_skipped(code, count) < count;
    /* An instruction may begin on one page and end on the next: copy both parts. */
    const uint8_t *rest = translate(hart, root, block->pc + first, PTE_X);
    _Alignas(2) uint8_t whole[2 * PAGE];
    if (rest == NULL || block->size - first > PAGE) return 1;
    memcpy(whole, code, first);
    memcpy(whole + first, rest, block->size - first);
    return bits_skipped((const uint16_t *)(const void *)whole, count) < count;
}

/* Unicorn calls it for each block that was translated and comes after another. */
API void pltvm_translated(void *engine, struct translated *block, void *previous, struct hart *hart) {
    if (hart->replaced || hart->breaks || (hart->registers != NULL && has_skipped(hart, block)))
        hart->look(engine, block, previous, NULL);
}
