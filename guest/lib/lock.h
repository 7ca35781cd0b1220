/* The SDK's state for each slot of a concurrent server, and the lock for the SDK's common state.
 *
 *     EAPP_STACK_TOP - 256 -> | error | depth | who |      start.S leaves 0 here, in the place of x0, at every entry
 *
 * Stacks of slots have the same addresses, so a fixed place on the stack is one of the slot's own. A program that does
 * not use threads.h has no slots, and no lock.
 */
#ifndef PLTVM_LOCK_H
#define PLTVM_LOCK_H

#include "eapp.h"

struct own {
    int error;            /* errno */
    unsigned short depth; /* how often this slot has taken the lock */
    unsigned short who;   /* its number from 1, once it has asked */
};
#define OWN ((struct own *)(EAPP_STACK_TOP - 256))

/* Whether threads.c is linked. Through a symbol that may be missing, and not a weak variable of C, whose address
 * would take a table of its own and so a page of data. */
static inline int has_slots(void)
{
    unsigned long at;

    __asm__(".weak __eapp_has_slots\n\tlla %0, __eapp_has_slots" : "=r"(at));
    return at != 0;
}

void __eapp_take_lock(void); /* recursive; lets the host run while another slot has it */
void __eapp_give_lock(int *unused);

/* At the start of a function: the lock is this slot's until it returns. */
#define LOCKED __attribute__((cleanup(__eapp_give_lock), unused)) int locked = (__eapp_take_lock(), 0)

#endif
