/* The monitor's state, as records in guest RAM that only the monitor can access.
 *
 * This header alone defines the layout of records. Python reads it (records.py), native code includes it.
 * References are physical addresses of other records, 0 for none; no guest and no host can write a reference.
 * Offsets and sizes are in bytes; all numbers are little endian.
 *
 * The monitor's own 2 MiB, behind PMP entry 0:
 *
 *   0x000000 ┌───────────────────────────────┐
 *            │ scratch                       │  for a few instructions in M-mode that set PMP
 *   0x001000 ├───────────────────────────────┤
 *            │ struct globals                │
 *   0x002000 ├───────────────────────────────┤
 *            │ tables: heads of lists        │  of enclaves by eid, of servers by name,
 *            │                               │  of shared memory by key, of relay regions by name
 *   0x020000 ├───────────────────────────────┤
 *            │ u16 free ASIDs                │  a stack
 *   0x040000 ├───────────────────────────────┤
 *            │ struct lent                   │  memory given by the host with monitor call 92
 *   0x060000 ├───────────────────────────────┤
 *            │ struct region of relay pages  │  they have no own page for a record
 *   0x0e0000 ├───────────────────────────────┤
 *            │ struct attachment             │  of memory shared between enclaves
 *   0x200000 └───────────────────────────────┘
 *
 * Memory given by the host holds struct enclave, eight per page. The first page of an enclave's block holds its
 * registers; the first page of a block for mmap, sbrk or shared memory holds its struct region or struct segment.
 * None of these pages is mapped anywhere.
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

    RECORD_BYTES = 512,      /* of a struct enclave, in memory given by the host */
    REGISTERS = 69           /* u64 of a saved context, see engine/context.py */
};

/* The global state, of which there is one record.
 *
 *   eids, ASIDs     handed out from 0 and 1 on; ASIDs return to the stack of free ones, eids are never reused
 *   records         free ones form a list; those never used are from `fresh` to the end of lent block number
 *                   `filling`, and in all blocks after that one
 *   PT area         | roots … roots_end | middle tables … middle_end | leaf tables … |, 0 until call 83
 */
struct globals {
    uint64_t running;        /* struct enclave whose context is on the hart, 0: the host has it */
    int64_t host_status;     /* of the last monitor call that ended in the host */
    uint64_t started;        /* runs so far */
    uint64_t first_enclave, last_enclave;  /* living ones, in the order of creation */
    uint64_t enclaves;       /* number of living ones */
    uint64_t first_segment;
    uint64_t next_eid, next_segment;
    uint64_t asids;          /* handed out so far */
    uint64_t free_asids;     /* on the stack */
    uint64_t record_space;   /* unused bytes for records */
    uint64_t free_records;   /* struct enclave, by `next` */
    uint64_t fresh, filling, lent;
    uint64_t free_regions, fresh_regions;          /* list, and number ever used */
    uint64_t free_attachments, fresh_attachments;
    uint64_t roots_end, middle_end;
    uint64_t first_waiting, last_waiting;          /* queue of those that waited for a server which has ended */
    uint64_t first_awaited;                        /* list of servers with a queue, by `next_awaited` */
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
 * A slot of a concurrent server has such a record too. Slot 0 is the server itself; the others have its eid and
 * refer to it by `server`; all use its memory. Their own pages are in the server's block:
 *
 *   | registers | root | tables of the kbuffer | tables of the stack | stack |      `block` is the first of these
 */
struct enclave {
    uint64_t next, prev;                 /* list of living enclaves, or the next free record */
    uint64_t next_of_eid, next_of_name;  /* in the lists by eid and by name */
    uint8_t name[16];
    uint32_t eid, kind;                  /* kind: enclave_args.type of the interface */
    uint32_t state, stopped;             /* stopped: by the host, in any state */
    uint32_t asid, instances;            /* instances: number of living ones, of a shadow template */
    uint64_t template_of;                /* of an instance: its template */
    uint64_t entry;

    /* its memory: physical addresses, pages or bytes */
    uint64_t block, block_pages;
    uint64_t root, free, free_end;
    uint64_t kbuffer, kbuffer_entry, kbuffer_slot;   /* its own page and entry, and the entry's place */
    uint64_t shm_pa, shm_size;
    uint64_t heap_top;                   /* virtual */
    uint64_t mmaps, heap, relays, orphans;           /* struct region: by address, the heap from its top */
    uint64_t attached;                   /* struct attachment, by address */

    /* the mailbox, read and written by the host: physical addresses of u64 */
    uint64_t ocall, arg0, arg1, syscall, retval;

    /* the ocall that it waits for, and values that the answer needs */
    uint64_t waiting_for, asked_where, asked_size;

    /* of a server in a call: the caller, the place of the caller's struct (in one or two parts), the passed memory */
    uint64_t caller;
    uint64_t struct_pa, struct_rest;     /* rest: its part in the next page, 0 if it is in one */
    uint64_t request, request_va, request_size;

    /* the chain: its start; and at the start, the enclave that runs or waits now */
    uint64_t top, innermost;

    /* of a slot: its server (0 for the server itself), its number, the number of its calls so far. Of the server: the
     * number of slots, and a bit for each slot that is in a call */
    uint64_t server;
    uint32_t slot, slots;
    uint64_t calls, busy;

    /* the queue of enclaves that wait for room in a server: `queued` is the server, 0 when that has ended */
    uint64_t queued, next_waiting;
    uint64_t first_waiting, last_waiting;            /* of the server */
    uint64_t next_awaited;                           /* the next server with a queue */
};

/* The first page of an enclave's block: its registers while it does not run, and those at each entry. Of a
 * concurrent server also the addresses of its slots' records. */
struct registers {
    uint64_t own[69];
    uint64_t entry[69];
    uint64_t slots[64];      /* struct enclave each */
};

/* Pages that move as a unit: a block of mmap or sbrk, or relay pages.
 *
 *   block ─▶ | 0 pages or 1, with this record | pages mapped at va |
 */
struct region {
    uint64_t next, prev;
    uint64_t va, size;                   /* size: mapped bytes, the last ones of the block */
    uint64_t block, block_pages;
    int64_t origin_eid;                  /* the enclave that passed it on last, −1 for none, and the address there */
    uint64_t origin_va;
    uint8_t name[16];                    /* the name that it is bound to, if it is */
    uint64_t holder, call;               /* in a concurrent server: the slot and the call that it was passed to */
    uint8_t filler[32];                  /* so that none crosses a page end, which the log would miss */
};

/* Memory shared between enclaves; the record lies in the first page of its block. */
struct segment {
    uint64_t next, prev;                 /* list of all */
    uint64_t next_of_key;                /* list of those with this hash of the key */
    uint64_t key;
    uint64_t block;
    uint32_t block_pages, pages;         /* pages: number of mapped ones */
    uint32_t owner, creator;             /* owner number, eid */
    uint32_t users, has_key;
};

/* The mapping of a segment in an enclave, at va. */
struct attachment {
    uint64_t next;
    uint64_t segment;
    uint64_t va;
    uint64_t filler;                     /* as in struct region */
};

#endif
