/* One call waits for work that another one brings: it says that it sleeps, and sleeps until it is woken.
 *
 * Bug: it looks for work before it says so. Work that comes between the two wakes nobody, and it sleeps for ever.
 *
 * explore: --callers 2 --server target=missed_wakeup.c,concurrent
 * finds: deadlock
 */
#include "chains.h"

static lock_t all;
static uint32_t work, sleeps, woken;

static void wait(void)
{
#ifdef FIXED
    lock(&all);
    if (work) {
        unlock(&all);
        return;
    }
    sleeps = 1;
    unlock(&all);
#else
    lock(&all);
    uint32_t there = work;
    unlock(&all);
    if (there)
        return;
    lock(&all);
    sleeps = 1;
    unlock(&all);
#endif
    while (!__atomic_load_n(&woken, __ATOMIC_ACQUIRE))
        eapp_yield();
}

static void bring(void)
{
    lock(&all);
    work = 1;
    if (sleeps)
        __atomic_store_n(&woken, 1, __ATOMIC_RELEASE);
    unlock(&all);
}

static unsigned long serve(unsigned long order)
{
    if (order)
        return 0;
    if (who_calls())
        wait();
    else
        bring();
    return 0;
}

SERVER(serve)
