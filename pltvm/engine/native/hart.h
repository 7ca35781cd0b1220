/* The hart, as the core and Python (`engine/hart.py`) share it.
 *
 * Python owns this structure and fills in the constant fields. While guest code runs, Unicorn holds the registers
 * of one context, and no flush is due: so the core only has to know that context. When it gives the hart to
 * another context, or leaves work for Python, it sets a flag in `told`, which Python checks whenever it has the
 * hart again.
 */

#ifndef PLTVM_HART_H
#define PLTVM_HART_H

#include "engine/native/api.h"

/* Indexes in a saved context: see engine/context.py. */
enum slot { MSTATUS = 1, SATP = 2, PRIV = 3, X0 = 3, A0 = 13, A1, A2, A3, A4, A5, A6, A7, PC = 35, SLOTS = 69 };
enum { SAVED_FROM = 4 };

enum cause { ILLEGAL = 2, ECALL_U = 8, FETCH_PAGE = 12, LOAD_PAGE = 13, STORE_PAGE = 15 };

/* Flags of `told`. */
enum told {
    SWITCHED = 1,   /* the hart has gone to another context, at `registers` */
    WAITING = 2,    /* the layer above has work for Python */
    SAVED = 4       /* only for `python`: the registers of the running context are saved */
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
    const int *ids;                 /* Unicorn's ids of the registers of a context, by index */
    uint64_t flush_word;            /* for ctl */

    /* RAM, and two bytes for each page: written since the log was emptied; executable somewhere. */
    uint8_t *ram;
    uint64_t base, size;
    uint8_t *dirty, *code;

    /* The functions that get traps: the layer above, which returns 0 to leave a trap to Python; and Python, which
     * returns whether the running context goes on with its saved registers, as they are now. */
    answer_function *answer;
    void *above;                    /* the data of `answer` */
    uint32_t (*python)(uint8_t told, uint32_t cause);

    /* Translated blocks: the function that examines one, and whether it awaits the next. */
    void (*look)(void *engine, void *block, void *previous, void *data);
    uint64_t replaced;
    uint64_t breaks;                /* whether there are breakpoints: then Python examines all blocks */

    /* The PMP entries, by priority: rows of start, end, and permissions, 1 to read and 2 to write. */
    const uint64_t *protection;
    uint64_t rows;

    uint64_t *registers;            /* of the running context; NULL if Python has to get every trap */
    uint64_t told;
    uint64_t clock;
    uint64_t flips;                 /* of pages that are writable and executable in turns; of Python too */
    uint64_t traps, flushes;        /* handled by the core */

    struct counter *counter;        /* counts instructions, or NULL: position.h */
    struct trap_log *log;           /* logs traps, or NULL: monitor/native/log.h */
};

/* A register in Unicorn. */
uint64_t hart_register(struct hart *hart, int slot);
void hart_set(struct hart *hart, int slot, uint64_t value);

/* Save the registers of the running context, from x1 on. */
void hart_save(struct hart *hart);

/* Load the saved registers again, as they are now, without a flush. */
void hart_load(struct hart *hart);

/* Let another context run, whose registers are at `registers`. The former one was saved. */
void hart_switch(struct hart *hart, uint64_t *registers);

/* Page-table entries have changed. */
void hart_flush(struct hart *hart);

static inline int in_ram(const struct hart *hart, uint64_t pa, uint64_t size) {
    return pa - hart->base < hart->size && size <= hart->size - (pa - hart->base);
}

/* The host pointer for a physical address in RAM. */
static inline void *at(const struct hart *hart, uint64_t pa) { return hart->ram + (pa - hart->base); }

/* The physical address for a host pointer into RAM. */
static inline uint64_t address(const struct hart *hart, const void *where) {
    return hart->base + (uint64_t)((const uint8_t *)where - hart->ram);
}

/* Note that the page at this physical address, or the page of this pointer into RAM, is written. */
static inline void touch(struct hart *hart, uint64_t pa) { hart->dirty[(pa - hart->base) >> 12] = 1; }
static inline void wrote(struct hart *hart, const void *where) { touch(hart, address(hart, where)); }

#endif
