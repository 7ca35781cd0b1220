/* Support for concurrent servers, which several callers use at once, each in its own slot; all share the memory.
 *
 * Each slot has its own registers, stack and variables marked _Thread_local, which are reset at each call. Everything
 * else is shared: data that two slots may use at once need a lock, or atomics (<stdatomic.h>, or __atomic_…). malloc,
 * printf and files have a lock already. The original has none of this: see docs/interface.md.
 *
 * A lock stays taken if its owner is destroyed, which can happen with its caller at any moment; so does a place in the
 * queue of a mutex.
 */
#ifndef PLTVM_THREADS_H
#define PLTVM_THREADS_H

#include "eapp.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The slot of this call, from 0 to the server's number of slots - 1; 0 outside concurrent servers. Call 63. */
unsigned long slot_id(void);

/* Like call_enclave, but while the server has no room the caller waits, in order of arrival. -3 if the wait would never
 * end, as all callers that could make room wait for one another. Call 64. */
long call_enclave_wait(unsigned long handle, struct call_enclave_arg_t *arg);

/* For a few instructions: a waiting slot keeps the hart until its time slice is over. */
struct spinlock {
    unsigned taken;
};
#define SPINLOCK_INIT {0}
void spin_lock(struct spinlock *lock);
int spin_trylock(struct spinlock *lock); /* 1 if this call has taken it, else 0 */
void spin_unlock(struct spinlock *lock);

/* A waiting slot lets the host run others, and gets the mutex in order of arrival. */
struct mutex {
    unsigned next, serving; /* ticket numbers */
};
#define MUTEX_INIT {0, 0}
void mutex_lock(struct mutex *mutex);
int mutex_trylock(struct mutex *mutex); /* 1 if this call has taken it, else 0 */
void mutex_unlock(struct mutex *mutex);

/* The first caller calls the function; others wait until it has returned. */
struct once {
    unsigned state;
};
#define ONCE_INIT {0}
void call_once(struct once *once, void (*function)(void));

/* Using this header makes _Thread_local variables separate for each slot: lib/startup.c. */
extern const char __eapp_has_slots;
static const char *const __eapp_uses_slots __attribute__((used)) = &__eapp_has_slots;

#ifdef __cplusplus
}
#endif

#endif
