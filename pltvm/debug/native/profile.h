/* The counts of a profile, shared by native/profile.c and Python (`debug/profile/table.py`).
 *
 * Python allocates all of it, once; pages that are never accessed cost nothing.
 *
 *   who ◀── stack ──▶ node ──▶ parent …      blocks, found by who, pc, physical address and size
 *            │
 *            ╰─ frames: return addresses of calls, and their nodes
 */

#ifndef PLTVM_PROFILE_H
#define PLTVM_PROFILE_H

#include "engine/native/hart.h"

enum profile_sizes {
    MOST_BLOCKS = 1 << 19,
    BLOCK_SLOTS = 1 << 20,
    MOST_NODES = 1 << 19,
    NODE_SLOTS = 1 << 20,
    MOST_FRAMES = 512,          /* open calls of one thread that are tracked */
    MOST_CODE = 1 << 26,        /* bytes of all blocks */
    KNOWN = 256,
    SEEN = 1 << 14,
    PAGES = 256,
    MOST_EDGES = 4096,
    CAUSES = 32,
    CALLS = 160                 /* enclave calls by number; ocalls from 128 on */
};

/* How a block ends, by the register conventions of the ABI. */
enum block_end { ENDS_PLAIN, ENDS_CALL, ENDS_RETURN };

/* Code from `pc` on that ran as a unit, `times` times. */
struct block {
    uint64_t who, pc, where;    /* where: physical address, 0 if not mapped for user mode */
    uint32_t size, instructions;/* size in bytes */
    uint64_t times;
    uint64_t code;              /* its bytes, in `code` */
    uint64_t seen;              /* the number of translations when its bytes were last compared */
    uint32_t function, end;
    uint32_t length, dead;      /* length: bytes of the last instruction; dead: its code has been replaced */
};

/* A function with its call path: called by `parent`, from the call that returns to `site`. */
struct node {
    uint32_t parent, function;
    uint64_t site;
    uint64_t self, calls;       /* instructions; times it was entered */
};

struct frame {
    uint32_t node, filler;
    uint64_t back;              /* where the call returns to */
};

struct who {
    uint64_t causes[32];        /* traps, by cause */
    uint64_t calls[160];
};

/* One thread of guest code: of an enclave, or of a host program. */
struct stack {
    uint64_t registers;         /* of its context, in this process */
    uint64_t who;
    struct who *counts;
    uint64_t number;            /* no other one has it */
    uint64_t end, after;        /* how and where its last block ended */
    uint64_t depth, node, root;
    struct frame frames[512];
};

/* From one enclave to another. */
struct edge {
    uint64_t caller, callee, calls, pages, back;
};

struct page {
    uint64_t tag, root, epoch, pa;
};

/* A cached block, valid while the stamp is the same; `times` are not in its row yet. */
struct seen {
    uint64_t pc, stamp, times;
    uint32_t block, size, instructions, function, end, filler[5];
};

struct profile {
    /* Data for each block. `own` are instructions not added to the node yet. */
    uint64_t stamp, salt;       /* stamp: of who runs and what is known, 0 where that is to be found out */
    uint64_t end, function, own, after;
    uint64_t refresh;           /* another thread has asked for a TLB flush, and set the stamp to 0 */
    struct seen *seen;
    struct seen *running;       /* the running block, NULL when it was settled */

    struct hart *hart;
    void (*trap)(void *engine, uint32_t cause, void *data);     /* who had the traps before */
    void *data;
    struct stack *(*find)(uint64_t registers, uint64_t pc);     /* Python: whose registers these are */
    void (*added)(uint64_t block);                              /* Python: sets the function */

    struct block *blocks;
    uint32_t *block_slots;
    struct node *nodes;
    uint32_t *node_slots;
    struct edge *edges;
    struct page *pages;
    struct stack **known;
    uint8_t *code;

    uint64_t block_count, node_count, edge_count, code_used;    /* block 0 and node 0 are none */
    uint64_t lost;              /* blocks that ran and did not fit */
    uint64_t epoch;             /* changes with traps and translations, as mappings may have changed */
    uint64_t translated;        /* blocks that Unicorn has translated */
    struct stack *stack;        /* of the running context, NULL if unknown */
};

#endif
