/* The hooks that see what chains touch: what explore/accesses.py does, at each load and store, and each block.
 *
 * In C as programs make a hundred million accesses a second.
 */

#include "explore/native/accesses.h"
#include "engine/native/sv39.h"
#include "monitor/native/calls.h"

enum { MEM_WRITE = 17, FENCE = 0x0f, AMO = 0x2f, NEAR = 16 };

/* Whether the one instruction that was logged last does the same again: an atomic one has two rows. */
static int spins(const struct accesses *accesses, uint64_t pa, uint64_t pc, uint64_t running, uint32_t kind) {
    for (uint64_t back = 1; pa && back <= 2 && back <= accesses->used; back++) {
        const struct access_row *row = &accesses->rows[accesses->used - back];
        if (row->pa != pa || row->pc != pc || row->running != running) return 0;
        if (row->kind == kind) return 1;
    }
    return 0;
}

/* Whose code runs: the enclave, or the server whose slot it is; 0: the host's. */
static uint64_t who_runs(struct hart *hart) {
    uint64_t running = globals_of(hart)->running;
    uint64_t server = running ? enclave_at(hart, running)->server : 0;
    return server ? server : running;
}

static void log_row(struct accesses *accesses, uint64_t position, uint64_t pa, uint64_t pc, uint32_t kind, uint32_t size) {
    if (accesses->used == accesses->most) accesses->full();
    if (accesses->used == accesses->most) return;
    struct hart *hart = accesses->hart;
    uint64_t running = who_runs(hart);
    if (spins(accesses, pa, pc, running, kind)) return;
    const uint32_t *owners = calls_of(hart)->owners;
    uint32_t owner = owners != NULL && pa ? owners[(pa - hart->base) >> 12] : 0;
    accesses->rows[accesses->used++] =
        (struct access_row){position, pa, pc, running, kind, size, owner, 0};
}

/* What may stand between a fence and what it orders: neither an access nor a jump. */
static int is_plain(const uint8_t *code) {
    unsigned opcode = code[0] & 0x7f, function = code[1] >> 5;
    switch (code[0] & 3) {
    case 0: return function == 0 || function == 4;                  /* no c.l… and c.s… */
    case 1: return function < 5;                                    /* no c.j, c.beqz, c.bnez */
    case 2: return function == 0 || (function == 4 && (code[0] & 0x7c));  /* c.slli; c.mv, c.add */
    default: return opcode == 0x13 || opcode == 0x17 || opcode == 0x1b || opcode == 0x33 || opcode == 0x37 || opcode == 0x3b;
    }
}

static int is_fence(const uint8_t *code) {
    return code[0] == FENCE && !code[1] && !(code[2] & 0x0f) && !(code[3] & 0xf0);
}

/* Whether there is a fence in the few bytes from one place of a page to another, and only plain instructions else. */
static int fenced(const uint8_t *page, uint64_t from, uint64_t to) {
    for (uint64_t at = from; at < to && at + 4 <= PAGE; at += (page[at] & 3) == 3 ? 4 : 2) {
        if (is_fence(page + at)) return 1;
        if (!is_plain(page + at)) return 0;
    }
    return 0;
}

/* Whether one comes right before the instruction at `to`. Instructions can be told apart forwards only. */
static int fenced_before(const uint8_t *page, uint64_t to) {
    for (uint64_t size = 4; size <= NEAR && size <= to; size += 2) {
        if (!is_fence(page + to - size)) continue;
        uint64_t at = to - size + 4;
        while (at < to && is_plain(page + at)) at += (page[at] & 3) == 3 ? 4 : 2;
        if (at == to) return 1;
    }
    return 0;
}

/* What the instruction at `pc` does: atomic, or ordered by a fence near it. */
static uint32_t order_of(const struct hart *hart, uint64_t pc, int writes) {
    if (hart->registers == NULL) return 0;
    uint64_t offset = pc & (PAGE - 1);
    const uint8_t *page = translate(hart, root_of(hart->registers[SATP]), pc - offset, 0);
    if (page == NULL) return 0;
    if ((page[offset] & 0x7f) == AMO) return ACCESS_ATOMIC;
    if (writes) return fenced_before(page, offset) ? ACCESS_RELEASE : 0;
    uint64_t behind = offset + ((page[offset] & 3) == 3 ? 4 : 2);
    return fenced(page, behind, behind + NEAR) ? ACCESS_ACQUIRE : 0;
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
        int exclusive = running && enclave_at(hart, running)->kind == TYPE_SERVER;
        log_row(accesses, counter->count, 0, pc, exclusive ? ACCESS_ENTER | ACCESS_EXCLUSIVE : ACCESS_ENTER, 0);
    }
    if (size < 4 || !(running || accesses->of_hosts) || hart->registers == NULL) return;
    const uint8_t *last = translate(hart, root_of(hart->registers[SATP]), pc + size - 4, 0);
    if (last != NULL && last[0] == 0x73 && !last[1] && !last[2] && !last[3])
        log_row(accesses, counter->count + counter->length - 1, 0, pc + size - 4, ACCESS_CALL, 0);
}
