/* The server counter: counts the calls of its clients, without a lock or with one. Create it as a concurrent server.
 *
 * In between it lets the host run others, which may happen to any server at any moment. Without the lock a client
 * then writes back what another one has counted further.
 */
#include "counter.h"

#include "threads.h"

static unsigned long count;
static struct mutex lock = MUTEX_INIT;

static void add(void)
{
    unsigned long before = *(volatile unsigned long *)&count;

    eapp_yield();
    count = before + 1;
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t ret = {0};

    switch (args[10]) {
    case COUNTER_ADD:
        add();
        break;
    case COUNTER_ADD_LOCKED:
        mutex_lock(&lock);
        add();
        mutex_unlock(&lock);
        break;
    }
    ret.resp_val = count;
    SERVER_RETURN(&ret);
}
