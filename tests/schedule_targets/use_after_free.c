/* Messages in blocks that chains get from a small allocator, and a mailbox with the newest one.
 *
 * Bug: who reads the mailbox takes no hold of the message. Another chain puts a newer one there, frees the old
 * block, and gets it again for something else, while it is still being read.
 *
 * explore: --callers 2 --fail-on-value
 * finds: value
 */
#include "chains.h"

#define BLOCKS 4
#define WORDS 4

struct block {
    uint32_t used;
    uint32_t words[WORDS]; /* of a message: all the same */
};

struct shared {
    lock_t lock;
    uint32_t next;
    uint32_t newest; /* number of a block, plus one */
    struct block blocks[BLOCKS];
};

static uint32_t new_block(struct shared *shared)
{
    uint32_t number = 0;

    while (shared->blocks[number].used)
        number++;
    shared->blocks[number].used = 1;
    return number;
}

static void send(struct shared *shared, uint32_t value)
{
    lock(&shared->lock);
    uint32_t number = new_block(shared), old = shared->newest;
    unlock(&shared->lock);

    for (int i = 0; i < WORDS; i++)
        __atomic_store_n(&shared->blocks[number].words[i], value, __ATOMIC_RELEASE);
    lock(&shared->lock);
    old = shared->newest;
    shared->newest = number + 1;
    if (old)
        shared->blocks[old - 1].used = 0;
    unlock(&shared->lock);
}

static int receive(struct shared *shared)
{
    uint32_t words[WORDS];
    int torn = 0;

    lock(&shared->lock);
    uint32_t number = shared->newest;
#ifndef FIXED
    unlock(&shared->lock);
#endif
    for (int i = 0; number && i < WORDS; i++)
        words[i] = __atomic_load_n(&shared->blocks[number - 1].words[i], __ATOMIC_ACQUIRE);
#ifdef FIXED
    unlock(&shared->lock);
#endif
    for (int i = 1; number && i < WORDS; i++)
        torn |= words[i] != words[0];
    return torn;
}

int EAPP_ENTRY main()
{
    struct shared *shared = shared_memory();
    uint32_t me = my_number(&shared->next);
    int torn = 0;

    for (uint32_t i = 0; i < 4; i++) {
        if (me == 0)
            send(shared, i + 1);
        else
            torn |= receive(shared);
    }
    EAPP_RETURN(torn);
}
