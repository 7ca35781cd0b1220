/* The lock of the SDK: see lock.h. It holds the number of the slot that has it.
 *
 * A call may end at any moment, when its caller is destroyed. The next call in the same slot, which usually comes soon,
 * then has the lock.
 */
#include "lock.h"

#include "ecall.h"

static unsigned short taken;

void __eapp_take_lock(void)
{
    if (!has_slots() || OWN->depth++)
        return;
    if (!OWN->who)
        OWN->who = (unsigned short)(enclave_call(CALL_SLOT_ID, 0, 0, 0, 0) + 1);
    for (;;) {
        unsigned short found = 0;

        if (__atomic_compare_exchange_n(&taken, &found, OWN->who, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return;
        if (found == OWN->who)
            return; /* of a call that was broken off */
        eapp_yield();
    }
}

void __eapp_give_lock(int *unused)
{
    (void)unused;
    if (has_slots() && --OWN->depth == 0)
        __atomic_store_n(&taken, 0, __ATOMIC_RELEASE);
}
