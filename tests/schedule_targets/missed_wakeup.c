/* One chain waits for work that the other one brings: it says that it sleeps, and sleeps until it is woken.
 *
 * Bug: it looks for work before it says so. Work that comes between the two wakes nobody, and it sleeps for ever.
 *
 * explore: --callers 2
 * finds: deadlock
 */
#include "chains.h"

struct shared {
    lock_t lock;
    uint32_t next;
    uint32_t work;
    uint32_t sleeps;
    uint32_t woken;
};

static void wait(struct shared *shared)
{
#ifdef FIXED
    lock(&shared->lock);
    if (shared->work) {
        unlock(&shared->lock);
        return;
    }
    shared->sleeps = 1;
    unlock(&shared->lock);
#else
    lock(&shared->lock);
    uint32_t work = shared->work;
    unlock(&shared->lock);
    if (work)
        return;
    lock(&shared->lock);
    shared->sleeps = 1;
    unlock(&shared->lock);
#endif
    while (!__atomic_load_n(&shared->woken, __ATOMIC_ACQUIRE))
        eapp_yield();
}

static void bring(struct shared *shared)
{
    lock(&shared->lock);
    shared->work = 1;
    if (shared->sleeps)
        __atomic_store_n(&shared->woken, 1, __ATOMIC_RELEASE);
    unlock(&shared->lock);
}

int EAPP_ENTRY main()
{
    struct shared *shared = shared_memory();

    if (my_number(&shared->next) == 0)
        wait(shared);
    else
        bring(shared);
    EAPP_RETURN(0);
}
