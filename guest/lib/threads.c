/* Locks of concurrent servers, and their calls: threads.h. */
#include "threads.h"

#include "ecall.h"

const char __eapp_has_slots = 1; /* startup.c looks whether this is linked */

unsigned long slot_id(void)
{
    return enclave_call(CALL_SLOT_ID, 0, 0, 0, 0);
}

long call_enclave_wait(unsigned long handle, struct call_enclave_arg_t *arg)
{
    return (long)enclave_call(CALL_CALL_ENCLAVE_WAIT, handle, (unsigned long)arg, 0, 0);
}

int spin_trylock(struct spinlock *lock)
{
    return !__atomic_exchange_n(&lock->taken, 1, __ATOMIC_ACQUIRE);
}

void spin_lock(struct spinlock *lock)
{
    while (!spin_trylock(lock))
        ;
}

void spin_unlock(struct spinlock *lock)
{
    __atomic_store_n(&lock->taken, 0, __ATOMIC_RELEASE);
}

int mutex_trylock(struct mutex *mutex)
{
    unsigned ticket = __atomic_load_n(&mutex->serving, __ATOMIC_ACQUIRE);

    return __atomic_compare_exchange_n(&mutex->next, &ticket, ticket + 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

void mutex_lock(struct mutex *mutex)
{
    unsigned ticket = __atomic_fetch_add(&mutex->next, 1, __ATOMIC_RELAXED);

    while (__atomic_load_n(&mutex->serving, __ATOMIC_ACQUIRE) != ticket)
        eapp_yield();
}

void mutex_unlock(struct mutex *mutex)
{
    __atomic_fetch_add(&mutex->serving, 1, __ATOMIC_RELEASE);
}

enum { NOT_YET, IN_PROGRESS, DONE };

void call_once(struct once *once, void (*function)(void))
{
    unsigned state = NOT_YET;

    if (__atomic_compare_exchange_n(&once->state, &state, IN_PROGRESS, 0, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE)) {
        function();
        __atomic_store_n(&once->state, DONE, __ATOMIC_RELEASE);
        return;
    }
    while (__atomic_load_n(&once->state, __ATOMIC_ACQUIRE) != DONE)
        eapp_yield();
}
