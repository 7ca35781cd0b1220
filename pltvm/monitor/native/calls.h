/* The enclave calls that the core answers, and what they share. */

#ifndef PLTVM_CALLS_H
#define PLTVM_CALLS_H

#include "engine/native/hart.h"
#include "monitor/native/abi.h"
#include "monitor/records.h"

/* What the core needs besides the records. Python owns it.
 *
 * Printed text waits for Python in `text`, in whole lines.
 */
struct calls {
    uint32_t *owners;               /* the page bitmap, NULL until there is one */

    /* The host's part of mmap and sbrk: gives a cleared block of so many bytes, or 0 if Python has to decide;
     * takes the table of a block that is given back. `blocks` is 0 if each request has to go to the host. */
    uint64_t (*offer)(uint64_t size);
    void (*take_back)(uint64_t table);
    uint64_t blocks;
    uint64_t host_maps;             /* whether page tables of the host map anything */

    /* Of the running enclave: physical address of its text; whether it goes on at once after a yield. */
    uint64_t kbuffer, goes_on;      /* 0: the host is to be asked */
    uint8_t *text;
    uint64_t room, used;            /* bytes */
};

static inline struct calls *calls_of(struct hart *hart) { return hart->above; }

static inline struct globals *globals_of(struct hart *hart) {
    return (struct globals *)(hart->ram + GLOBALS_AT);
}

/* The record at a physical address found in another record. */
static inline struct enclave *enclave_at(struct hart *hart, uint64_t pa) { return at(hart, pa); }

static inline struct registers *registers_of(struct hart *hart, const struct enclave *enclave) {
    return at(hart, enclave->block);
}

static inline struct enclave *top_of(struct hart *hart, const struct enclave *enclave) {
    return enclave_at(hart, enclave->top);
}

/* The owner of an enclave's memory: the server of a slot, else itself. */
static inline struct enclave *home_of(struct hart *hart, struct enclave *enclave) {
    return enclave->server ? enclave_at(hart, enclave->server) : enclave;
}

/* Whether no other slot holds this region of its space: monitor/slots.py. */
static inline int may_give(struct hart *hart, const struct enclave *enclave, const struct region *region) {
    if (!region->holder || region->holder == address(hart, enclave)) return 1;
    const struct enclave *holder = enclave_at(hart, region->holder);
    return !holder->caller || holder->calls != region->call;
}

/* Whether an ocall of this chain can be answered at once; and the changes in RAM as if the host had answered. */
int can_ask(struct hart *hart, const struct enclave *enclave);
void ask(struct hart *hart, struct enclave *enclave, uint64_t number, uint64_t arg0, uint64_t arg1);

/* Each returns 0, and changes nothing, if Python has to decide. */
int call_server(struct hart *hart, struct enclave *caller);
int return_to_caller(struct hart *hart, struct enclave *callee);
int memory_ocall(struct hart *hart, struct enclave *enclave, uint64_t number);
int flip(struct hart *hart, struct enclave *enclave, uint32_t cause);

#endif
