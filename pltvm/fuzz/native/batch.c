/* Runs whole executions, one after the other, without Python: does what fuzz/target.py does in the common case.
 *
 * The enclave ends an execution by a call. Then, inside the trap, coverage is checked, RAM is restored, the next
 * input is made, and the enclave is entered again. Monitor calls that the core can answer are answered meanwhile.
 * Everything else goes to Python unchanged: a fault, a call that needs Python, an oracle, new coverage.
 * In C because going through Python takes longer than most targets run.
 */

#include "fuzz/native/batch.h"
#include "engine/native/sv39.h"
#include "fuzz/native/sequence.h"
#include "fuzz/native/turn.h"
#include "monitor/native/calls.h"

/* Whether the monitor has changed anything since the snapshot. */
static int batch_changed(const struct hart *hart, const struct batch *batch) {
    if (memcmp(hart->dirty, batch->logged, hart->size >> 12)) return 1;
    const uint8_t *copy = (const uint8_t *)(uintptr_t)batch->arena->state.copy;
    for (uint64_t i = 0; i < batch->always_count; i++) {
        uint64_t at_page = batch->always[i] << 12;
        if (memcmp(hart->ram + at_page, copy + at_page, PAGE)) return 1;
    }
    return 0;
}

/* The next page of the log from this one on, or the number of pages. */
static uint64_t next_logged(const struct hart *hart, uint64_t page) {
    const uint8_t *found = memchr(hart->dirty + page, 1, (hart->size >> 12) - page);
    return found == NULL ? hart->size >> 12 : (uint64_t)(found - hart->dirty);
}

int batch_is_data(const struct hart *hart) {
    for (uint64_t page = next_logged(hart, 0); page < hart->size >> 12; page = next_logged(hart, page + 1))
        if (hart->code[page]) return 0;
    return 1;
}

static void copy_back(struct hart *hart, const struct batch *batch, uint64_t page) {
    const uint8_t *copy = (const uint8_t *)(uintptr_t)batch->arena->state.copy;
    memcpy(hart->ram + (page << 12), copy + (page << 12), PAGE);
}

/* Pages written through entries that the monitor has moved: only the tables in the log show them. */
static void restore_moved(struct hart *hart, const struct batch *batch) {
    for (uint64_t page = next_logged(hart, 0); page < hart->size >> 12; page = next_logged(hart, page + 1)) {
        if (!batch->tables[page]) continue;
        const uint64_t *entries = (const uint64_t *)(const void *)(hart->ram + (page << 12));
        for (int i = 0; i < 512; i++)
            if ((entries[i] & (PTE_V | PTE_D)) == (PTE_V | PTE_D) && in_ram(hart, pte_address(entries[i]), PAGE))
                copy_back(hart, batch, (pte_address(entries[i]) - hart->base) >> 12);
    }
}

/* What the monitor has written. */
static void restore_logged(struct hart *hart, const struct batch *batch) {
    for (uint64_t page = next_logged(hart, 0); page < hart->size >> 12; page = next_logged(hart, page + 1))
        copy_back(hart, batch, page);
    memcpy(hart->dirty, batch->logged, hart->size >> 12);
}

/* Start the target with the input in place; 0, with `found` set, if Python has to do it. */
static int begin(struct hart *hart, struct batch *batch) {
    struct state *state = &batch->arena->state;
    int how = 1;
    state->budget = state->blocks;
    state->region = state->sent = state->next = state->kind = state->part_new = state->part_path = 0;
    batch->asked = batch->by_python = batch->changed = 0;
    batch->begun = 1;
    hart->clock = batch->clock;
    if (batch->most_calls) {
        how = sequence_begin(hart, batch);
    } else {
        memcpy(batch->target, batch->entry, sizeof batch->entry);
        if (state->skip) {
            batch->target[A0] = state->argument;
            if (state->size <= state->skip) batch->target[A1] = batch->target[A2] = 0;
        }
    }
    if (how <= 0) {
        batch->found = how == 0 ? TO_BEGIN : TO_SEND;
        return 0;
    }
    if (how == 1) hart_switch(hart, batch->target); /* which flushes: D bits were cleared */
    hart->told = SWITCHED; /* Python may have run another context since then; the text is not needed */
    return 1;
}

/* The target has made its last call. */
static int finish(struct hart *hart, struct batch *batch) {
    struct state *state = &batch->arena->state;
    if (!batch->plain || batch->by_python || batch->changed) return 0;
    if (hart->flips != batch->flips) return 0; /* the translated code of those pages has to be discarded */
    uint64_t va = hart_register(hart, A0);
    if ((va & (PAGE - 1)) > PAGE - sizeof(struct call_struct)) return 0;
    const struct call_struct *results = translate(hart, root_of(batch->target[SATP]), va, PTE_R);
    if (results == NULL) return 0;
    if (batch->most_calls) {
        struct call_struct fields;
        memcpy(&fields, results, sizeof fields);
        int next = sequence_next(hart, batch, &fields);
        if (next == -2) batch->found = TO_SEND;
        if (next) return next > 0;
    }
    if (!batch->left) return 0;
    int changed = batch->asked && batch_changed(hart, batch);
    if (changed && !batch_is_data(hart)) return 0;
    if (batch->most_calls) pltvm_fuzz_part(batch->arena, 0, 1);
    state->executions++;
    state->work += state->blocks - state->budget;
    int new = pltvm_fuzz_classify(batch->arena, 1);
    if (changed) {
        state->full++;
        restore_moved(hart, batch);
    }
    pltvm_fuzz_restore(batch->arena);
    if (changed) restore_logged(hart, batch);
    if (pltvm_fuzz_deeper(batch->arena, 1) && !new) new = 1;
    if (new < state->part_new) new = (int)state->part_new;
    if (new) {
        batch->found = (uint64_t)new;
        return 0;
    }
    batch->left--;
    pltvm_fuzz_advance(batch->arena);
    return begin(hart, batch);
}

/* A call for the monitor: its part of the core may answer it. */
static int ask_monitor(struct hart *hart, struct batch *batch, uint32_t cause) {
    struct state *state = &batch->arena->state;
    struct calls *calls = batch->calls;
    const uint64_t *before = hart->registers;
    calls->kbuffer = batch->kbuffer;
    hart->above = calls;
    int answered = batch->monitor(hart, cause);
    hart->above = batch;
    calls->used = 0; /* nobody wants the text */
    if (!answered) return 0;
    batch->asked = 1;
    state->budget -= ECALL_BLOCKS;
    if (hart->registers == before) return 1;
    state->region = state->previous = 0;
    for (int64_t i = 0; i < REGIONS; i++)
        if (batch->regions[i] == hart->registers) state->region = i * EDGES_EACH;
    return 1;
}

/* `answer` of the hart while a batch runs. */
API int pltvm_fuzz_answer(struct hart *hart, uint32_t cause) {
    struct batch *batch = hart->above;
    if (cause != ECALL_U) return 0;
    if (hart_register(hart, A6) == ENCLAVE_CALL && hart_register(hart, A7) == batch->last_call &&
        hart->registers == batch->target)
        return finish(hart, batch);
    return ask_monitor(hart, batch, cause);
}
