/* For attacks that are enclaves: what the attack says to `pltvm selftest`, in memory shared with the host.
 *
 * An enclave ends at its first fault, so a program runs in rounds: `board->round` counts from 1. In a round it
 * makes attempts that give an error (`by_check`) and at most one that faults, last: it says which fault must come.
 * Where a program needs servers, the same ELF is also "server" and "other"; all see the same board. When the program
 * prints, its chain is paused where it is, the same ELF runs a second time to its end, and then the first goes on.
 */
#ifndef PLTVM_BOARD_H
#define PLTVM_BOARD_H

#include <stddef.h>
#include <stdint.h>

#include "eapp.h"
#include "ecall.h"

#define BOARD_ADDRESS 0x3900000000UL
#define BOARD_SIZE (2 * PAGE_SIZE)
#define RELAY_ADDRESS 0x3800000000UL /* four pages in every round */
#define RELAY_SIZE (4 * PAGE_SIZE)
#define KBUFFER_ADDRESS 0xffffffe000000000UL
#define NOWHERE 0x2000000000UL /* where nothing is mapped unless a program does it */

enum { CAUSE_FETCH_ACCESS = 1, CAUSE_ILLEGAL = 2, CAUSE_LOAD_ACCESS = 5, CAUSE_STORE_ACCESS = 7,
       CAUSE_FETCH_PAGE = 12, CAUSE_LOAD_PAGE = 13, CAUSE_STORE_PAGE = 15,
       CAUSE_UNKNOWN_CALL = 98, CAUSE_TIMER = 99 }; /* the last: it runs until the host has had enough */
#define ANY_ADDRESS 1UL

struct board {
    uint64_t round, rounds;        /* the host says which round it is, the program how many there are */
    uint64_t attempts;             /* so far in this round */
    uint64_t cause, address;       /* of the fault that must come now, 0 for none */
    uint64_t failed;               /* number of the attempt that got through, 0 for none */
    uint64_t finished;             /* the program came to its end */
    uint64_t monitor, bitmap, pt_area, host, other, other_eid, other_kbuffer; /* physical addresses */
    uint64_t word[16];             /* for the program's own use */
    char text[512];                /* a letter for each attempt: what stopped it */
};
#define board ((volatile struct board *)BOARD_ADDRESS)

static inline void rounds(uint64_t count) { board->rounds = count; }

static inline void attempt(char by, int it_was_stopped)
{
    uint64_t number = board->attempts++;

    if (!it_was_stopped && !board->failed)
        board->failed = number + 1;
    board->text[number % sizeof board->text] = by;
}

static inline void by_check(int it_was_stopped) { attempt('M', it_was_stopped); }
static inline void works(int it_does) { attempt('-', it_does); }

/* The next access must fault like this. */
static inline void expect(uint64_t cause, uint64_t address)
{
    board->cause = cause;
    board->address = address;
}

/* These do not come back; if they do, that is noted at once: nothing may work any more after it. */
static inline __attribute__((noinline)) void load(uint64_t address)
{
    expect(CAUSE_LOAD_PAGE, address);
    (void)*(volatile uint64_t *)address;
    attempt('T', 0);
}

static inline __attribute__((noinline)) void store(uint64_t address)
{
    expect(CAUSE_STORE_PAGE, address);
    *(volatile uint64_t *)address = 1;
    attempt('T', 0);
}

static inline __attribute__((noinline)) void fetch(uint64_t address)
{
    expect(CAUSE_FETCH_PAGE, address);
    ((void (*)(void))address)();
    attempt('T', 0);
}

static inline __attribute__((noreturn)) void finish(void)
{
    board->finished = 1;
    EAPP_RETURN(0);
}

static inline uint64_t touch(uint64_t address) /* own memory: it is in the TLB afterwards */
{
    *(volatile uint64_t *)address = address;
    return address;
}

static inline int is_server(void) { return get_caller_id() != -1; }

#endif
