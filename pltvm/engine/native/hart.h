/* The hart, as the core and Python (`engine/hart.py`) share it.
 *
 * Python owns this structure, and fills in what does not change. While guest code runs, Unicorn holds the
 * registers of one context, and nothing waits to be flushed: so the core has only to know whose they are. When
 * it gives the hart to another context, or leaves work for Python, it says so in `told`, which Python looks at
 * whenever it has the hart again.
 */

#ifndef PLTVM_HART_H
#define PLTVM_HART_H

#include "engine/native/api.h"

/* Places of a saved context: see engine/context.py. */
enum slot { MSTATUS = 1, SATP = 2, PRIV = 3, X0 = 3, A0 = 13, A1, A2, A3, A4, A5, A6, A7, PC = 35, SLOTS = 69 };
enum { SAVED_FROM = 4 };

enum cause { ILLEGAL = 2, ECALL_U = 8, FETCH_PAGE = 12, LOAD_PAGE = 13, STORE_PAGE = 15 };

/* What `told` says. */
enum told {
    SWITCHED = 1,   /* another context has the hart: the one at `registers` */
    WAITING = 2     /* something of the layer above waits for Python */
};

struct hart;
struct counter;
struct trap_log;
typedef int answer_function(struct hart *hart, uint32_t cause);

struct hart {
    /* Unicorn: its handle, and its functions, which Python has loaded. */
    void *engine;
    int (*read_batch)(void *engine, const int *ids, void *const *values, int count);
    int (*write_batch)(void *engine, const int *ids, void *const *values, int count);
    int (*ctl)(void *engine, int word, ...);
    const int *ids;                 /* of the registers of a context, in the order of its places */
    uint64_t flush_word;            /* for ctl */

    /* RAM, and a byte for each page of it: written since the log was emptied; executable somewhere. */
    uint8_t *ram;
    uint64_t base, size;
    uint8_t *dirty, *code;

    /* Who gets the traps: the layer above, which gives 0 for what it leaves to Python; and Python. */
    answer_function *answer;
    void *above;                    /* what `answer` works on */
    void (*python)(uint8_t told, uint32_t cause);

    /* Blocks of code that Unicorn has translated: who looks at one, and whether it waits for the next. */
    void (*look)(void *engine, void *block, void *previous, void *data);
    uint64_t replaced;
    uint64_t breaks;                /* there are places where code traps: Python looks at all blocks */

    /* What PMP says, by priority: rows of start, end, and permissions, 1 to read and 2 to write. */
    const uint64_t *protection;
    uint64_t rows;

    uint64_t *registers;            /* of the context that runs, NULL where Python is to see every trap */
    uint64_t told;
    uint64_t clock;
    uint64_t flips;                 /* of pages that are writable and executable in turns, by whomever */
    uint64_t traps, flushes;        /* that the core has dealt with */

    struct counter *counter;        /* who counts instructions, if anybody does: position.h */
    struct trap_log *log;           /* who notes traps, likewise: monitor/native/log.h */
};

/* Registers, as Unicorn has them. */
uint64_t hart_register(struct hart *hart, int slot);
void hart_set(struct hart *hart, int slot, uint64_t value);

/* Save the registers of the context that runs, in its places from x1 on. */
void hart_save(struct hart *hart);

/* Load what was saved again, as it is now, with nothing to flush. */
void hart_load(struct hart *hart);

/* Let another context run, whose registers are at `registers`. The one that ran was saved. */
void hart_switch(struct hart *hart, uint64_t *registers);

/* Page-table entries have changed. */
void hart_flush(struct hart *hart);

static inline int in_ram(const struct hart *hart, uint64_t pa, uint64_t size) {
    return pa - hart->base < hart->size && size <= hart->size - (pa - hart->base);
}

/* What lies at a physical address, which is in RAM. */
static inline void *at(const struct hart *hart, uint64_t pa) { return hart->ram + (pa - hart->base); }

/* The physical address of what lies here, in RAM. */
static inline uint64_t address(const struct hart *hart, const void *where) {
    return hart->base + (uint64_t)((const uint8_t *)where - hart->ram);
}

/* Note that the page with this address in RAM is written; and the page of what lies here. */
static inline void touch(struct hart *hart, uint64_t pa) { hart->dirty[(pa - hart->base) >> 12] = 1; }
static inline void wrote(struct hart *hart, const void *where) { touch(hart, address(hart, where)); }

#endif
