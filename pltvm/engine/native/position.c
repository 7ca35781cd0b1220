/* Instructions counted block by block: what engine/counting.py does, at each block of code that runs.
 *
 * In C because programs run a hundred million blocks a second. The number of instructions in a block is found in
 * its code: Unicorn gives its size, and an instruction has two or four bytes.
 */

#include "engine/native/position.h"
#include "engine/native/sv39.h"

/* The instructions from one address to another, which begin on one page. */
uint64_t instructions_between(const struct hart *hart, uint64_t from, uint64_t to) {
    if (hart->registers == NULL) return 0;
    const uint8_t *code = translate(hart, root_of(hart->registers[SATP]), from, 0);
    if (code == NULL) return 0;
    uint64_t count = 0, size = to - from, room = PAGE - (from & (PAGE - 1));
    for (uint64_t at = 0; at < size && at < room; count++) {
        uint16_t half;
        memcpy(&half, code + at, 2);
        at += (half & 3) == 3 ? 4 : 2;
    }
    return count;
}

/* The number of instructions of a whole block: most ran before, with unchanged code. */
static uint64_t length_of(struct counter *counter, uint64_t pc, uint64_t size) {
    const struct hart *hart = counter->hart;
    if (hart->registers == NULL) return 0;
    uint64_t satp = hart->registers[SATP], epoch = counter->epoch + hart->flips + hart->flushes;
    struct counted_block *block = counter->blocks + ((pc >> 1 ^ pc >> 13) & (COUNTED_BLOCKS - 1));
    if (block->pc != pc || block->size != size || block->satp != satp || block->epoch != epoch)
        *block = (struct counted_block){pc, size, satp, epoch, instructions_between(hart, pc, pc + size)};
    return block->length;
}

/* Whether the watched bytes have changed since the current block began. */
static void look(struct counter *counter) {
    if (counter->watched_size && memcmp(counter->was, counter->watched, counter->watched_size)) {
        memcpy(counter->was, counter->watched, counter->watched_size);
        counter->changed_at = counter->count;
    }
}

/* Unicorn calls it at each block, before it runs. */
API void pltvm_count_block(void *engine, uint64_t pc, uint32_t size, struct counter *counter) {
    struct hart *hart = counter->hart;
    look(counter);
    counter->count += counter->length;
    counter->pc = pc;
    counter->size = size;
    counter->length = length_of(counter, pc, size);
    if (counter->count + counter->length > counter->limit) {
        counter->stopped = 1;
        counter->stop(engine);
        return;
    }
    for (uint64_t i = 0; i < counter->place_count; i++) {
        const uint64_t *place = counter->places + 2 * i;
        if (place[1] - pc < size && (!place[0] || (hart->registers != NULL && root_of(hart->registers[SATP]) == place[0])))
            counter->reached_at = counter->count;
    }
}

/* The current block is left at this address, inside it or at its start; otherwise it has run. */
API void pltvm_count_left(struct counter *counter, uint64_t pc) {
    look(counter);
    counter->count += pc - counter->pc < counter->size && counter->length
                          ? instructions_between(counter->hart, counter->pc, pc) : counter->length;
    counter->length = 0;
}

/* The instruction at this address, in the current block, has trapped without having run. */
API void pltvm_count_fault(struct counter *counter, uint64_t pc) {
    if (!counter->length) return;
    pltvm_count_left(counter, pc);
    counter->again++;
}

/* Called in place of the function that answers traps: see `Handlers.answer_through`. */
API int pltvm_count_answer(struct hart *hart, uint32_t cause) {
    struct counter *counter = hart->counter;
    if (cause == LOAD_PAGE || cause == STORE_PAGE) pltvm_count_fault(counter, hart_register(hart, PC) - 4);
    return counter->next(hart, cause);
}
