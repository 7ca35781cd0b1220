/* The hooks that see what chains touch: what explore/accesses.py does, at each load and store, and each block.
 *
 * In C as programs make a hundred million accesses a second.
 */

#include "explore/native/accesses.h"
#include "engine/native/sv39.h"
#include "monitor/native/calls.h"

enum { MEM_WRITE = 17, FENCE = 0x0f, AMO = 0x2f };

static void log_row(struct accesses *accesses, uint64_t position, uint64_t pa, uint64_t pc, uint32_t kind, uint32_t size) {
    if (accesses->used == accesses->most) accesses->full();
    if (accesses->used == accesses->most) return;
    struct hart *hart = accesses->hart;
    const uint32_t *owners = calls_of(hart)->owners;
    uint32_t owner = owners != NULL && pa ? owners[(pa - hart->base) >> 12] : 0;
    accesses->rows[accesses->used++] =
        (struct access_row){position, pa, pc, globals_of(hart)->running, kind, size, owner, 0};
}

/* What the instruction at `pc` does: atomic, or ordered by a fence beside it. */
static uint32_t order_of(const struct hart *hart, uint64_t pc, int writes) {
    if (hart->registers == NULL) return 0;
    const uint8_t *code = translate(hart, root_of(hart->registers[SATP]), pc, 0);
    if (code == NULL) return 0;
    uint64_t offset = pc & (PAGE - 1);
    if ((code[0] & 0x7f) == AMO) return ACCESS_ATOMIC;
    if (writes) return offset >= 4 && code[-4] == FENCE && !(code[-3] & 0x70) ? ACCESS_RELEASE : 0;
    uint64_t size = (code[0] & 3) == 3 ? 4 : 2;
    return offset + size < PAGE && code[size] == FENCE && !(code[size + 1] & 0x70) ? ACCESS_ACQUIRE : 0;
}

/* Unicorn calls it at each load and store, with a physical address. */
API void pltvm_access(void *engine, int type, uint64_t pa, int size, int64_t value, struct accesses *accesses) {
    (void)engine, (void)value;
    struct hart *hart = accesses->hart;
    if (!accesses->on || !in_ram(hart, pa, (uint64_t)size)) return;
    uint64_t page = (pa - hart->base) >> 12;
    int writes = type == MEM_WRITE;
    if (accesses->ignored[page] || !(globals_of(hart)->running || accesses->of_hosts)) return;
    accesses->seen[page] |= UINT64_C(1) << (accesses->chain & 63);
    accesses->written[page] |= (uint8_t)writes;
    uint64_t seen = accesses->seen[page];
    if (!accesses->logging || !(seen & (seen - 1)) || !accesses->written[page]) return;
    uint64_t pc = hart_register(hart, PC);
    struct counter *counter = accesses->counter;
    uint64_t position = counter->count + instructions_between(hart, counter->pc, pc);
    log_row(accesses, position, pa, pc, order_of(hart, pc, writes) | (uint32_t)writes, (uint32_t)size);
}

/* Unicorn calls it at each block, after that of the counter. */
API void pltvm_access_block(void *engine, uint64_t pc, uint32_t size, struct accesses *accesses) {
    (void)engine;
    struct hart *hart = accesses->hart;
    struct counter *counter = accesses->counter;
    if (!accesses->on || !accesses->logging || counter->stopped) return;
    uint64_t running = globals_of(hart)->running;
    if (running != accesses->running) {
        accesses->running = running;
        log_row(accesses, counter->count, 0, pc, ACCESS_ENTER, 0);
    }
    if (size < 4 || !(running || accesses->of_hosts) || hart->registers == NULL) return;
    const uint8_t *last = translate(hart, root_of(hart->registers[SATP]), pc + size - 4, 0);
    if (last != NULL && last[0] == 0x73 && !last[1] && !last[2] && !last[3])
        log_row(accesses, counter->count + counter->length - 1, 0, pc + size - 4, ACCESS_CALL, 0);
}
