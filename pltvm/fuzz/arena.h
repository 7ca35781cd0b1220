/* The memory that the fuzzing loop works on, besides guest RAM and its copy.
 *
 * This header alone defines its layout. Python reads it (arena.py), native code includes it.
 *
 *   ┌──────────────────────┐
 *   │ struct state         │  numbers: of this execution, of the input, of all executions
 *   │ rng      4 u64       │  the state of the sequence of inputs
 *   ├──────────────────────┤
 *   │ map      u8  an edge │  how often this execution took it, at most 255
 *   │ seen     u8  an edge │  classes of counts seen in earlier ones
 *   │ touched  u32         │  the edges with a count in `map`
 *   ├──────────────────────┤
 *   │ buffer   parent      │  bytes: the input, and its parent
 *   ├──────────────────────┤
 *   │ slots    entries     │  leaf entries of writable pages: index of u64 in RAM, and value
 *   ├──────────────────────┤
 *   │ corpus   bounds      │  inputs end to end, with start of each and end of the last
 *   │ tokens   token_bounds│  the dictionary, in the same form
 *   └──────────────────────┘
 *
 * `map` and `seen`, by edge:
 *
 *   │ of the target │ of server 1 │ … │ of server 7 │ features          │ numbers of pages: `seen` only │
 *   0               64 Ki                           FEATURES            MAP_SIZE − 256           MAP_SIZE
 *
 * A feature counts like an edge: for example a call of one kind after one of another.
 */

#ifndef PLTVM_ARENA_H
#define PLTVM_ARENA_H

#include <stdint.h>

enum arena_sizes {
    EDGES_EACH = 0x10000,                   /* of an enclave */
    REGIONS = 8,                            /* enclaves */
    FEATURES = EDGES_EACH * REGIONS,        /* behind the edges */
    MAP_SIZE = FEATURES + EDGES_EACH,
    MOST_FEATURES = EDGES_EACH - 256,       /* behind them: numbers of pages, see `deeper` */
    MOST_PAGES = 255,
    MOST_SLOTS = 0x4000,
    MOST_INPUT = 0x10000,                   /* bytes */
    MOST_CORPUS = 0x400000,                 /* bytes */
    MOST_INPUTS = 0x2000,
    MOST_TOKENS = 0x10000,                  /* bytes */
    MOST_WORDS = 0x800
};

struct state {
    /* this execution */
    int64_t budget;         /* blocks until the run is stopped */
    uint64_t stop;          /* the C function that stops it */
    int64_t region;         /* first edge of the enclave that runs */
    int64_t previous;       /* block, for the edge */
    int64_t taken;          /* edges that are not 0 in the map */
    int64_t sent;           /* messages of its input, and where the next one starts */
    int64_t next;
    int64_t kind;           /* of the last call: who made it, and which edges it took */
    int64_t part_new;       /* of the calls that are over: what is new, and a hash of their paths */
    int64_t part_path;
    uint64_t begun;         /* where a debugger looks: the last block that has begun, */
    uint64_t begun_size;    /* its bytes, 0 once it has ended, */
    uint64_t again;         /* and where the rest of one goes on that was stopped in; 0: nowhere */

    /* the last one */
    int64_t path;           /* hash of edges and how often they were taken */
    int64_t set;            /* hash of the edges alone */
    int64_t dirty;          /* pages that it had written */

    /* RAM */
    uint64_t ram;           /* where it is in this process */
    uint64_t copy;          /* where what it was at the snapshot is */
    uint64_t base;          /* physical address of its start */
    int64_t watched;        /* leaf entries: those of `slots` */

    /* input */
    int64_t size;           /* bytes of it */
    int64_t parent_size;
    int64_t limit;          /* most bytes */
    int64_t header;         /* bytes at its start that are fields */
    int64_t calls;          /* whether it is a list of messages */
    int64_t place;          /* where in RAM it goes, as offset; 0: Python puts it there */
    int64_t room;           /* so many bytes of it */
    int64_t skip;           /* bytes of it that go elsewhere: the argument of a call */
    int64_t placed;         /* bytes of the last one that are in RAM */
    uint64_t argument;      /* its first u64, if `skip` */

    /* what mutations use */
    int64_t inputs;         /* in the corpus */
    int64_t words;          /* in the dictionary */

    /* all executions */
    int64_t edges;          /* different ones, seen so far */
    int64_t executions;
    int64_t blocks;         /* the budget of each */
    int64_t work;           /* blocks that they have run, for the caller to reset */
    int64_t full;           /* those that changed the monitor, likewise */
};

struct arena {
    struct state state;
    uint64_t rng[4];
    uint8_t map[MAP_SIZE];
    uint8_t seen[MAP_SIZE];
    uint32_t touched[MAP_SIZE];
    uint8_t buffer[MOST_INPUT];
    uint8_t parent[MOST_INPUT];
    int64_t slots[MOST_SLOTS];
    uint64_t entries[MOST_SLOTS];
    uint8_t corpus[MOST_CORPUS];
    int64_t bounds[MOST_INPUTS + 1];
    uint8_t tokens[MOST_TOKENS];
    int64_t token_bounds[MOST_WORDS + 1];
};

#endif
