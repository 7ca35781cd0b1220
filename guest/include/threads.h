/* What a concurrent server needs: several callers are in it at once, each in a slot, and its memory is that of all.
 *
 * A slot has registers, a stack and variables marked _Thread_local of its own, which start anew with each call. All
 * else is shared: what two slots may use at once needs a lock, or is atomic (<stdatomic.h>, or __atomic_…). malloc,
 * printf and files have a lock already. None of this is the original's: see docs/interface.md.
 *
 * A lock stays taken whose owner is destroyed in the middle, as its caller may be at any moment; so does a place in the
 * queue of a mutex.
 */
#ifndef PLTVM_THREADS_H
#define PLTVM_THREADS_H

#include "eapp.h"

#ifdef __cplusplus
extern "C" {
#endif

/* In which slot this call is, from 0 to the server's number of slots; 0 in what is no concurrent server. Call 63. */
unsigned long slot_id(void);

/* As call_enclave, but while the server has no room the caller waits, behind those that came before. -3 if that would
 * never end: all who could make room wait for one another. Call 64. */
long call_enclave_wait(unsigned long handle, struct call_enclave_arg_t *arg);

/* For a few instructions: who waits keeps the hart, until its time slice is over. */
struct spinlock {
    unsigned taken;
};
#define SPINLOCK_INIT {0}
void spin_lock(struct spinlock *lock);
int spin_trylock(struct spinlock *lock); /* whether it is taken now */
void spin_unlock(struct spinlock *lock);

/* Who waits lets the host run others, and gets it in the order of coming. */
struct mutex {
    unsigned next, serving; /* numbers, as of a counter in an office */
};
#define MUTEX_INIT {0, 0}
void mutex_lock(struct mutex *mutex);
int mutex_trylock(struct mutex *mutex); /* whether it is taken now */
void mutex_unlock(struct mutex *mutex);

/* The first who comes calls the function; those that come meanwhile wait for its end. */
struct once {
    unsigned state;
};
#define ONCE_INIT {0}
void call_once(struct once *once, void (*function)(void));

/* That this header is used says that _Thread_local variables are to be each slot's own: lib/startup.c. */
extern const char __eapp_has_slots;
static const char *const __eapp_uses_slots __attribute__((used)) = &__eapp_has_slots;

#ifdef __cplusplus
}
#endif

#endif
