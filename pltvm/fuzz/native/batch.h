/* A batch of executions, as the core and Python (fuzz/batch.py) share it. Python owns it. */

#ifndef PLTVM_BATCH_H
#define PLTVM_BATCH_H

#include "engine/native/hart.h"
#include "fuzz/arena.h"

/* What the core leaves to Python, where it is not something that is new. */
enum { TO_BEGIN = 4, TO_SEND };   /* the next execution, whose input is there; the next call of this one */

enum { ECALL_BLOCKS = 200 };      /* that a call counts as: see fuzz/target.py */

struct batch {
    struct arena *arena;

    /* The monitor: its part of the core, and what that works on. */
    answer_function *monitor;
    void *calls;
    uint64_t kbuffer;       /* of who is printed for, if what is printed does not matter; 0: Python prints */

    /* The target: its registers, and with which call it ends an execution. */
    uint64_t *target;
    uint64_t last_call;
    uint64_t *regions[REGIONS];     /* registers of the enclaves whose edges are counted apart */
    uint64_t entry[SLOTS];          /* what each execution starts with, but for its argument */
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
    uint64_t plain;         /* whether executions may end here: nobody looks at what comes out */
    uint64_t left;          /* executions, after this one */
    uint64_t asked;         /* the monitor was asked for something, and the core has answered */
    uint64_t by_python;     /* … or Python has: then it goes back, too */
    uint64_t changed;       /* and it is known that more than RAM has to go back */
    uint64_t flips;         /* of the hart, when Python last threw away code that had flipped */
    uint64_t begun;         /* the core has begun this execution */
    uint64_t found;         /* it is over, and RAM is as it was: what it reached that is new; or from above */
};

/* Whether all that was written since the snapshot can be put back here: no page of code is in it. */
int batch_is_data(const struct hart *hart);

#endif
