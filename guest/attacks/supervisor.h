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

enum { CAUSE_ILLEGAL = 2, CAUSE_ECALL_U = 8, CAUSE_LOAD_ACCESS = 5, CAUSE_STORE_ACCESS = 7, CAUSE_FETCH_ACCESS = 1,
       CAUSE_FETCH_PAGE = 12, CAUSE_LOAD_PAGE = 13, CAUSE_STORE_PAGE = 15 };
enum { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16, PTE_A = 64, PTE_D = 128 };
/* The victims of `pltvm selftest`: a paused enclave's own block, and what it got from the host: memory (mmap), relay
 * pages, memory shared with another enclave; then a server, a shadow template, and host pages that the enclave
 * holds, its kbuffer and its mailbox. The eid is that of the enclave, the server or the template. */
enum { ENCLAVE, MMAP, RELAY, SHARED, SERVER, TEMPLATE, KBUFFER, MAILBOX, PRIVATE_VICTIMS = KBUFFER };
enum { CALL_SET_PTE = 101, CALL_INIT = 100, CALL_CREATE = 99, CALL_ATTEST = 98, CALL_RUN = 97, CALL_STOP = 96,
       CALL_RESUME = 95, CALL_DESTROY = 94, CALL_EXTEND = 92, CALL_CREATE_SERVER = 90, CALL_DESTROY_SERVER = 89,
       CALL_RUN_SHADOW = 87, CALL_CREATE_SHADOW = 86, CALL_RELAY_INIT = 85, CALL_SEPARATE = 83,
       CALL_SPLIT_HUGE = 81, CALL_ATTEST_SHADOW = 80, CALL_DESTROY_SHADOW = 79, CALL_RECLAIM = 102, CALL_CAN_GO_ON = 103,
       CALL_TURN = 104 };
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

/* Runs user mode at `pc` until it traps: error is the cause, value the pc of the trap. Arguments come in its a0 … a3. */
struct sv_result sv_user(uint64_t pc, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3);

void sv_put(char character);
void sv_exit(unsigned long code) __attribute__((noreturn));

static inline uint64_t pte_of(uint64_t page, uint64_t flags)
{
    return page >> 12 << 10 | PTE_V | PTE_A | PTE_D | flags;
}

static inline struct sv_info *sv_start(void) { return ((struct sv_info **)(EAPP_STACK_TOP - 32 * 8))[10]; }

/* One attempt and what must have stopped it. It prints a letter for the mechanism; if something else or nothing
 * stopped the attempt, the program ends with the attempt's number. `pltvm selftest` reads both. */
extern uint64_t sv_attempts;

static inline void sv_stopped(char by, int it_was)
{
    sv_attempts++;
    if (!it_was)
        sv_exit(sv_attempts);
    sv_put(by);
}

static inline void by_pmp(long cause)
{
    sv_stopped('P', cause == CAUSE_LOAD_ACCESS || cause == CAUSE_STORE_ACCESS || cause == CAUSE_FETCH_ACCESS);
}

static inline void by_page_table(long cause)
{
    sv_stopped('T', cause == CAUSE_LOAD_PAGE || cause == CAUSE_STORE_PAGE || cause == CAUSE_FETCH_PAGE);
}

static inline void by_tvm(long cause) { sv_stopped('V', cause == CAUSE_ILLEGAL); }
static inline void by_privilege(long cause) { sv_stopped('I', cause == CAUSE_ILLEGAL); }
static inline void by_check(struct sv_result result) { sv_stopped('M', result.error == -1); }

/* What must work: that the attempts failed for the reason they name shows only beside it. */
static inline void sv_works(int it_does)
{
    sv_attempts++;
    if (!it_does)
        sv_exit(sv_attempts);
}

#endif
