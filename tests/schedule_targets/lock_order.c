/* Two accounts, a lock for each, and calls that move money from one to the other.
 *
 * Bug: each takes the lock of the account that it takes from first. Two that go different ways wait for each other.
 *
 * explore: --callers 2 --server target=lock_order.c,concurrent
 * finds: deadlock
 */
#include "chains.h"

struct account {
    lock_t lock;
    int64_t balance;
};

static struct account accounts[2];

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

static unsigned long serve(unsigned long order)
{
    int from = who_calls();

    if (order != LAST)
        move(&accounts[from], &accounts[!from], 10);
    return 0;
}

SERVER(serve)
