/* The trap hook, and switches of contexts: does what engine/hart.py does, without entering Python.
 *
 * In C because a trap that is answered here costs a thirtieth of one that goes through ctypes, and because every
 * switch makes two calls of Unicorn with seventy pointers each.
 */

#include "engine/native/hart.h"
#include "engine/native/quirks.h"
#include "engine/native/sv39.h"

uint64_t hart_register(struct hart *hart, int slot) {
    uint64_t value;
    void *values[] = {&value};
    hart->read_batch(hart->engine, hart->ids + slot, values, 1);
    return value;
}

void hart_set(struct hart *hart, int slot, uint64_t value) {
    void *values[] = {&value};
    hart->write_batch(hart->engine, hart->ids + slot, values, 1);
}

typedef int batch_function(void *engine, const int *ids, void *const *values, int count);

/* Read or write a context's registers, from this index on. */
static void move(struct hart *hart, batch_function *how, uint64_t *registers, int from) {
    void *values[SLOTS];
    for (int slot = from; slot < SLOTS; slot++) values[slot] = registers + slot;
    how(hart->engine, hart->ids + from, values + from, SLOTS - from);
}

void hart_save(struct hart *hart) { move(hart, hart->read_batch, hart->registers, SAVED_FROM); }

void hart_load(struct hart *hart) { move(hart, hart->write_batch, hart->registers, SAVED_FROM); }

void hart_switch(struct hart *hart, uint64_t *registers) {
    /* Unicorn flushes by itself only when the ASID changes. */
    if (!((registers[SATP] ^ hart->registers[SATP]) & ASID_MASK)) hart_flush(hart);
    move(hart, hart->write_batch, registers, 0);
    hart->registers = registers;
    hart->told |= SWITCHED;
}

void hart_flush(struct hart *hart) {
    hart->ctl(hart->engine, (int)hart->flush_word);
    hart->flushes++;
}

/* Unicorn calls it at every trap. */
API void pltvm_trap(void *engine, uint32_t cause, struct hart *hart) {
    (void)engine;
    uint8_t saved = 0;
    if (hart->registers != NULL) {
        if (cause == ILLEGAL ? !hart->breaks && settle_illegal(hart) : hart->answer != NULL && hart->answer(hart, cause)) {
            hart->traps++;
            return;
        }
        hart_save(hart);
        saved = SAVED;
    }
    uint8_t told = (uint8_t)hart->told | saved;
    hart->told = 0;
    if (hart->python(told, cause)) hart_load(hart);
}
