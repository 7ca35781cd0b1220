/* What the profile counts in, as native/profile.c and Python (`debug/profile/table.py`) share it.
 *
 * Python allocates all of it, once; pages of it that are never touched cost nothing.
 *
 *   who ◀── stack ──▶ node ──▶ parent …      blocks, found by who, pc, physical address and size
 *            │
 *            ╰─ frames: where calls return to, and the node that they return to
 */

#ifndef PLTVM_PROFILE_H
#define PLTVM_PROFILE_H

#include "engine/native/hart.h"

enum profile_sizes {
    MOST_BLOCKS = 1 << 19,
    BLOCK_SLOTS = 1 << 20,
    MOST_NODES = 1 << 19,
    NODE_SLOTS = 1 << 20,
    MOST_FRAMES = 512,          /* calls of one thread that are followed at a time */
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

/* Code that ran from `pc` on in one piece: `times` times. */
struct block {
    uint64_t who, pc, where;    /* where: physical, 0 where nothing is mapped for user mode */
    uint32_t size, instructions;/* size in bytes */
    uint64_t times;
    uint64_t code;              /* its bytes, in `code` */
    uint64_t seen;              /* when its bytes were compared last, as a number of translations */
    uint32_t function, end;
    uint32_t length, dead;      /* length: bytes of the last instruction; dead: its code has been replaced */
};

/* A function as it was called: by `parent`, from the call that returns to `site`. */
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
    uint64_t end, after;        /* how the block that it ran last ends, and where */
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

/* A block that was found and is as it was, for as long as the stamp is the same; `times` are not in its row yet. */
struct seen {
    uint64_t pc, stamp, times;
    uint32_t block, size, instructions, function, end, filler[5];
};

struct profile {
    /* What each block needs. `own` are instructions that are not in the node yet. */
    uint64_t stamp, salt;       /* stamp: of who runs and what is known, 0 where that is to be found out */
    uint64_t end, function, own, after;
    uint64_t refresh;           /* another thread wants the TLB flushed, and has set the stamp to 0 */
    struct seen *seen;
    struct seen *running;       /* the block that runs, NULL when it was settled */

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
    uint64_t epoch;             /* changes with traps and translations: what is mapped where may have changed */
    uint64_t translated;        /* blocks that Unicorn has translated */
    struct stack *stack;        /* of who runs, NULL where that is to be found */
};

#endif
