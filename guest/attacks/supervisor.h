/* For programs that run in S-mode in the place of the host kernel: `pltvm run --supervisor prog.elf`.
 *
 * All of RAM is mapped at its own address, readable and writable, except what is private. TVM is on. The
 * program gets, in args[10], where things are; it ends with sv_exit. A probe gives 0, or the cause of the trap
 * that stopped it: 5 and 7 are PMP, 13 and 15 the page table, 12 and 1 a fetch, 2 an instruction that TVM
 * made trap and the monitor refused.
 */
#ifndef PLTVM_SUPERVISOR_H
#define PLTVM_SUPERVISOR_H

#include <stddef.h>
#include <stdint.h>

#include "eapp.h"

enum { CAUSE_ILLEGAL = 2, CAUSE_LOAD_ACCESS = 5, CAUSE_STORE_ACCESS = 7, CAUSE_FETCH_ACCESS = 1,
       CAUSE_FETCH_PAGE = 12, CAUSE_LOAD_PAGE = 13, CAUSE_STORE_PAGE = 15 };
enum { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16, PTE_A = 64, PTE_D = 128 };
enum { SET_ONE = 1, SET_ZERO, SET_COPY, SET_BATCH_ZERO, SET_BATCH_SET };

struct victim {
    uint64_t block, size, eid, extra; /* a private block and whose it is */
};

struct sv_info {
    uint64_t ram, ram_size, monitor, monitor_size, bitmap, bitmap_size, pt_area, pt_size;
    uint64_t root;                                           /* the root table in use */
    uint64_t free, free_size;                                /* memory of the program's own */
    uint64_t free_root[2], free_middle[2], free_leaf[2];     /* unused pages of the PT area */
    uint64_t victims;
    struct victim victim[8];
};

long sv_load(uint64_t address, uint64_t *value);             /* probes: 0, or the cause of the trap */
long sv_store(uint64_t address, uint64_t value);
long sv_fetch(uint64_t address);                             /* calls the address */
long sv_write_satp(uint64_t value);
uint64_t sv_read_satp(void);
long sv_fence(void);

struct sv_result {
    long error, value; /* a0 and a1 of a monitor call */
};
struct sv_result sv_call(unsigned long function, unsigned long a0, unsigned long a1, unsigned long a2,
                         unsigned long a3, unsigned long a4); /* a monitor call, ABI section 8 */

void sv_put(char character);
void sv_exit(unsigned long code) __attribute__((noreturn));

static inline uint64_t pte_of(uint64_t page, uint64_t flags) { return page >> 12 << 10 | PTE_V | PTE_A | PTE_D | flags; }

#endif
