/* Two accounts, a lock for each, and chains that move money from one to the other.
 *
 * Bug: each takes the lock of the account that it takes from first. Two that go different ways wait for each other.
 *
 * explore: --callers 2 --fail-on-value
 * finds: deadlock
 */
#include "chains.h"

struct account {
    lock_t lock;
    int64_t balance;
};

struct shared {
    uint32_t next;
    struct account accounts[2];
};

static void move(struct account *from, struct account *to, int64_t amount)
{
    struct account *first = from, *second = to;

#ifdef FIXED
    if (first > second)
        first = to, second = from;
#endif
    lock(&first->lock);
    lock(&second->lock);
    from->balance -= amount;
    to->balance += amount;
    unlock(&second->lock);
    unlock(&first->lock);
}

int EAPP_ENTRY main()
{
    struct shared *shared = shared_memory();
    uint32_t me = my_number(&shared->next) & 1;

    for (int i = 0; i < 5; i++)
        move(&shared->accounts[me], &shared->accounts[!me], 10);
    EAPP_RETURN(0);
}
