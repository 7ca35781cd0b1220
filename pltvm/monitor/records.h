/* What the monitor remembers, as it lies in guest RAM that only the monitor can touch.
 *
 * This is the one place that says what a record looks like. Python reads it (records.py), native code
 * includes it. References are physical addresses of other records, 0 for none; nothing that a guest or the
 * host writes is ever one. Offsets and sizes are in bytes; all numbers are little endian.
 *
 * The monitor's own 2 MiB, behind PMP entry 0:
 *
 *   0x000000 ┌───────────────────────────────┐
 *            │ scratch                       │  a few instructions in M-mode, while PMP is set
 *   0x001000 ├───────────────────────────────┤
 *            │ struct globals                │
 *   0x002000 ├───────────────────────────────┤
 *            │ tables: heads of lists        │  of enclaves by eid, of servers by name,
 *            │                               │  of shared memory by key, of relay regions by name
 *   0x020000 ├───────────────────────────────┤
 *            │ u16 free ASIDs                │  a stack
 *   0x040000 ├───────────────────────────────┤
 *            │ struct lent                   │  memory that the host gave with monitor call 92
 *   0x060000 ├───────────────────────────────┤
 *            │ struct region of relay pages  │  which have no page for a record of their own
 *   0x0e0000 ├───────────────────────────────┤
 *            │ struct attachment             │  of memory shared between enclaves
 *   0x200000 └───────────────────────────────┘
 *
 * Memory that the host gave holds struct enclave, eight in a page. The first page of an enclave's block holds
 * its registers; that of a block for mmap, sbrk or shared memory its struct region or struct segment. None of
 * these pages is mapped anywhere.
 */

#ifndef PLTVM_RECORDS_H
#define PLTVM_RECORDS_H

#include <stdint.h>

enum layout {
    GLOBALS_AT = 0x001000,
    ENCLAVES_AT = 0x002000,  ENCLAVE_LISTS = 4096,   /* u64 each */
    SERVERS_AT = 0x00a000,   SERVER_LISTS = 4096,
    SEGMENTS_AT = 0x012000,  SEGMENT_LISTS = 1024,
    BOUNDS_AT = 0x014000,    BOUND_LISTS = 1024,     /* by crc32 of the name, as servers are */
    ASIDS_AT = 0x020000,     LAST_ASID = 0xffff,
    LENT_AT = 0x040000,      MOST_LENT = 8192,
    REGIONS_AT = 0x060000,   MOST_REGIONS = 4096,
    ATTACHMENTS_AT = 0x0e0000, MOST_ATTACHMENTS = 32768,
    MONITOR_SIZE = 0x200000,

    RECORD_BYTES = 512,      /* of a struct enclave: what an enclave costs of memory that the host gave */
    REGISTERS = 69           /* u64 of a saved context, see engine/context.py */
};

/* What there is once.
 *
 *   eids, ASIDs     handed out from 0 and 1 on; ASIDs come back to the stack of free ones, eids never do
 *   records         free ones form a list; behind it, those never used: from `fresh` to the end of lent block
 *                   number `filling`, and all of the blocks after that one
 *   PT area         | roots … roots_end | middle tables … middle_end | leaf tables … |, 0 until call 83
 */
struct globals {
    uint64_t running;        /* struct enclave whose context is on the hart, 0: the host has it */
    int64_t host_status;     /* of the last monitor call that ended in the host */
    uint64_t started;        /* runs so far */
    uint64_t first_enclave, last_enclave;  /* living ones, in the order of their creation */
    uint64_t enclaves;       /* how many */
    uint64_t first_segment;
    uint64_t next_eid, next_segment;
    uint64_t asids;          /* handed out so far */
    uint64_t free_asids;     /* on the stack */
    uint64_t record_space;   /* bytes for records that are not used */
    uint64_t free_records;   /* struct enclave, by `next` */
    uint64_t fresh, filling, lent;
    uint64_t free_regions, fresh_regions;          /* list, and how many were ever used */
    uint64_t free_attachments, fresh_attachments;
    uint64_t roots_end, middle_end;
    uint64_t first_waiting, last_waiting;          /* struct enclave that waited for a server which has ended */
    uint64_t first_awaited;                        /* servers that somebody waits for, by `next_awaited` */
};

/* Memory from the host: `pages` pages at physical address `pa`. */
struct lent {
    uint64_t pa, pages;
};

/* One enclave. Its block:
 *
 *   | registers | root table | spare | tables, ELF, stack … | free … free_end: left over for tables |
 *
 * (An instance of a shadow template: | registers | tables, root first | copies | stack | left over |.)
 *
 * A slot of a concurrent server is such a record too. Slot 0 is the server's own; the others have its eid and say
 * whose they are in `server`, which has the memory of all. What they have of their own lies in the server's block:
 *
 *   | registers | root | tables of the kbuffer | tables of the stack | stack |      `block` is the first of these
 */
struct enclave {
    uint64_t next, prev;                 /* of the living, or the next free record */
    uint64_t next_of_eid, next_of_name;  /* in their lists */
    uint8_t name[16];
    uint32_t eid, kind;                  /* kind: enclave_args.type of the interface */
    uint32_t state, stopped;             /* stopped: by the host, whatever its state */
    uint32_t asid, instances;            /* instances: living ones, of a shadow template */
    uint64_t template_of;                /* of an instance: its template */
    uint64_t entry;

    /* its memory: physical addresses, pages or bytes */
    uint64_t block, block_pages;
    uint64_t root, free, free_end;
    uint64_t kbuffer, kbuffer_entry, kbuffer_slot;   /* its own page and entry, and where that lies */
    uint64_t shm_pa, shm_size;
    uint64_t heap_top;                   /* virtual */
    uint64_t mmaps, heap, relays, orphans;           /* struct region: by address, the heap from its top */
    uint64_t attached;                   /* struct attachment, by address */

    /* what the host reads and writes for it: physical addresses of u64 */
    uint64_t ocall, arg0, arg1, syscall, retval;

    /* what it waits for: an ocall, and what its answer needs */
    uint64_t waiting_for, asked_where, asked_size;

    /* of a server in a call: who made it, where its struct lies (in one or two parts), what it passed */
    uint64_t caller;
    uint64_t struct_pa, struct_first, struct_rest;   /* first: bytes at pa; the others are at rest */
    uint64_t request, request_va, request_size;

    /* the chain: its start; and at the start, who runs or waits now */
    uint64_t top, innermost;

    /* of a slot: whose, 0 of the server itself; which; how many calls it has had. Of the server: how many there are,
     * and a bit for each that is in a call */
    uint64_t server;
    uint32_t slot, slots;
    uint64_t calls, busy;

    /* who waits to call a server, in order, until there is room: `queued` is the server, 0 when that has ended */
    uint64_t queued, next_waiting;
    uint64_t first_waiting, last_waiting;            /* of the server */
    uint64_t next_awaited;                           /* server that somebody waits for */
};

/* The first page of an enclave's block: its registers while it does not run, and those that each run or call
 * starts with. Of a concurrent server also where the records of its slots are. */
struct registers {
    uint64_t own[69];
    uint64_t entry[69];
    uint64_t slots[64];      /* struct enclave each */
};

/* Pages that move as one: a block of mmap or sbrk, or relay pages.
 *
 *   block ─▶ | 0 pages or 1, with this record | pages that are mapped at va |
 */
struct region {
    uint64_t next, prev;
    uint64_t va, size;                   /* size: bytes that are mapped, the last of the block */
    uint64_t block, block_pages;
    int64_t origin_eid;                  /* who passed it on last, −1: nobody, and its address there */
    uint64_t origin_va;
    uint8_t name[16];                    /* that it waits for, of a bound one */
    uint64_t holder, call;               /* in a concurrent server: the slot that it was passed to, in which call */
    uint8_t filler[32];                  /* so that none crosses the end of a page, of which the log would miss one */
};

/* Memory shared between enclaves; the record lies in the first page of its block. */
struct segment {
    uint64_t next, prev;                 /* of all */
    uint64_t next_of_key;                /* of those that can be found */
    uint64_t key;
    uint64_t block;
    uint32_t block_pages, pages;         /* pages: that are mapped */
    uint32_t owner, creator;             /* owner number, eid */
    uint32_t users, has_key;
};

/* That an enclave has a segment mapped at va. */
struct attachment {
    uint64_t next;
    uint64_t segment;
    uint64_t va;
    uint64_t filler;                     /* likewise */
};

#endif
