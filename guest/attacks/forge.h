/* For kernel programs: enclaves made by hand, with parameters and page tables as right or as wrong as one likes.
 *
 *     struct puppet p;
 *     forge(&p, "name", NORMAL);          // everything is right until the program changes it
 *     p.params->kbuffer = ...;
 *     by_check(forge_create(&p));
 *
 * The enclave inside is a puppet (puppet.S): it makes the enclave call that it finds in its shared memory, puts the
 * result there and yields. Its block:  page 0 monitor's | 1 root | 2 spare | 3 middle table | 4 leaf table | 5 code, at
 * 0x1000 | 6 data, at 0x2000 | the rest is free.
 */
#ifndef PLTVM_FORGE_H
#define PLTVM_FORGE_H

#include "supervisor.h"

enum { NORMAL, SERVER_TYPE, SHADOW_TYPE, CONCURRENT_SERVER_TYPE }; /* ABI section 5 and 6; ours */
#define WITH_SLOTS(count) (CONCURRENT_SERVER_TYPE | (count) << 8)
enum { PUPPET_PAGES = 64, PUPPET_LOAD = 0, PUPPET_STORE = 1, PUPPET_CODE = 0x1000, PUPPET_DATA = 0x2000 };
enum { STATUS_TIMER = 1, STATUS_OCALL = 2, STATUS_YIELD = 3, STATUS_WAITING = 4 };

struct create_params { /* ABI section 8 */
    uint64_t eid_pointer;
    char name[16];
    uint32_t type, padding;
    uint64_t paddr, size, entry, free_mem, kbuffer, kbuffer_size, shm_paddr, shm_size;
    uint64_t ocall, arg0, arg1, syscall, retval;
};

struct run_shadow_params {
    uint64_t satp, free_page, size, eid_pointer, kbuffer, kbuffer_size, shm_paddr, shm_size;
    uint64_t relay_paddr, relay_size, ocall, arg0, arg1, syscall, retval;
    char name[16];
};

struct mailbox {
    uint64_t ocall, arg0, arg1, syscall, retval, eid;
};

struct command { /* what the puppet finds at the start of its shared memory */
    uint64_t argument[4], function, result;
};

struct puppet {
    uint64_t block, size, eid;
    uint64_t *kbuffer;               /* all of these are host memory, at their physical addresses */
    struct create_params *params;
    uint64_t *run_params;            /* relay pages: address and bytes */
    volatile struct mailbox *mailbox;
    volatile struct command *command;
    int started;
};

uint64_t sv_take(uint64_t pages);    /* host memory: cleared, naturally aligned, never given back */
void forge(struct puppet *puppet, const char *name, uint32_t type);
void forge_in(struct puppet *puppet, uint64_t block, const char *name, uint32_t type); /* in 64 pages there */
void forge_again(struct puppet *puppet, const char *name, uint32_t type); /* where one was that is destroyed */
struct sv_result forge_create(struct puppet *puppet); /* makes the monitor call; sets eid when it is accepted */

/* Let the puppet make an enclave call, or load or store. value is the status: STATUS_YIELD when it is done and the
 * result is in command->result, STATUS_OCALL when the kernel has to answer first, 0 when the enclave has ended. */
struct sv_result puppet_go(struct puppet *puppet, uint64_t function, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3);
struct sv_result puppet_answer(struct puppet *puppet, uint64_t ocall, uint64_t value, uint64_t size);

/* Sets one entry by any kind of set PTE, through memory at `scratch` where the kind takes a list. */
struct sv_result sv_set(uint64_t kind, uint64_t scratch, uint64_t slot, uint64_t pte);

static inline uint64_t *at(uint64_t physical) { return (uint64_t *)physical; }

/* Physical addresses of pages that are not the kernel's to give or to name; 0 ends the list. */
#define NOT_OURS 14
void sv_not_ours(uint64_t list[NOT_OURS + 1]);

#endif
