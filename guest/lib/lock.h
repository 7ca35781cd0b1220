/* What a slot of a concurrent server has of its own in the SDK, and the one lock for what the SDK has once.
 *
 *     EAPP_STACK_TOP - 256 -> | error | depth |      start.S leaves 0 here, in the place of x0, at every entry
 *
 * Stacks of slots have the same addresses, so a fixed place on the stack is one of the slot's own.
 */
#ifndef PLTVM_LOCK_H
#define PLTVM_LOCK_H

#include "eapp.h"

struct own {
    int error;      /* errno */
    unsigned depth; /* how often this slot has taken the lock */
};
#define OWN ((struct own *)(EAPP_STACK_TOP - 256))

void __eapp_take_lock(void); /* as often as one likes; lets the host run while another slot has it */
void __eapp_give_lock(int *unused);

/* At the start of a function: the lock is this slot's until it returns. */
#define LOCKED __attribute__((cleanup(__eapp_give_lock), unused)) int locked = (__eapp_take_lock(), 0)

#endif
