/* A batch of executions, shared by the core and Python (fuzz/batch.py). Python owns it. */

#ifndef PLTVM_BATCH_H
#define PLTVM_BATCH_H

#include "engine/native/hart.h"
#include "fuzz/arena.h"

/* What the core leaves to Python, besides new coverage. */
enum { TO_BEGIN = 4, TO_SEND };   /* the next execution, whose input is in place; the next call of this one */

enum { ECALL_BLOCKS = 200 };      /* blocks that a call counts as: see fuzz/target.py */

struct batch {
    struct arena *arena;

    /* The monitor: its part of the core, with its data. */
    answer_function *monitor;
    void *calls;
    uint64_t kbuffer;       /* of the printing chain, if the text is not needed; 0: Python prints */

    /* The target: its registers, and the call by which it ends an execution. */
    uint64_t *target;
    uint64_t last_call;
    uint64_t *regions[REGIONS];     /* registers of the enclaves whose edges are counted separately */
    uint64_t entry[SLOTS];          /* registers at the start of each execution, except its argument */
    uint64_t clock;

    /* Where an input is several calls: how many at most; who makes and who serves them, by their records; where
     * the caller has its structure, and the server 48 bytes of stack that it does not use; what the call of the
     * snapshot passes (virtual, where in RAM, bytes), and the leaf entries of that, as an index of u64 in RAM. */
    uint64_t most_calls;    /* 0: it is one, placed by `place` of the arena */
    uint64_t caller, server, struct_va, unused_va;
    uint64_t first_request, first_place, room;
    const uint64_t *slots;
    uint64_t slot_count;
    /* likewise of the call that is served, and whether it passes anything; where the caller has that, or had it */
    uint64_t request, place, passes, caller_va;

    /* RAM's log at the snapshot; the pages in it, but for the target's registers; and which pages are leaf tables. */
    const uint8_t *logged;
    const uint64_t *always;
    uint64_t always_count;
    const uint8_t *tables;

    /* Now. */
    uint64_t plain;         /* whether executions may end here: results need not be checked */
    uint64_t left;          /* executions, after this one */
    uint64_t asked;         /* the monitor was called, and the core has answered */
    uint64_t by_python;     /* … or Python has answered: then Python restores, too */
    uint64_t changed;       /* and more than RAM has to be restored */
    uint64_t flips;         /* of the hart, when Python last discarded code of flipped pages */
    uint64_t begun;         /* the core has begun this execution */
    uint64_t found;         /* the execution is over, and RAM is restored: its new coverage; or a value from above */
};

/* Whether all writes since the snapshot can be restored here: no page with code is among them. */
int batch_is_data(const struct hart *hart);

#endif
