/* Messages in blocks of a small allocator, and a mailbox with the newest one.
 *
 * Bug: who reads the mailbox takes no hold of the message. Another slot puts a newer one there, frees the old
 * block, and gets it again for something else, while it is still being read.
 *
 * explore: --callers 2 --server target=use_after_free.c,concurrent --fail-on-value
 * finds: value
 */
#include "chains.h"

#define BLOCKS 4
#define WORDS 4

struct block {
    uint32_t used;
    uint32_t words[WORDS]; /* of a message: all the same */
};

static lock_t all;
static uint32_t newest; /* number of a block, plus one */
static struct block blocks[BLOCKS];

static uint32_t new_block(void)
{
    uint32_t number = 0;

    while (blocks[number].used)
        number++;
    blocks[number].used = 1;
    return number;
}

static void send(uint32_t value)
{
    lock(&all);
    uint32_t number = new_block();
    unlock(&all);

    for (int i = 0; i < WORDS; i++)
        __atomic_store_n(&blocks[number].words[i], value, __ATOMIC_RELEASE);
    lock(&all);
    uint32_t old = newest;
    newest = number + 1;
    if (old)
        blocks[old - 1].used = 0;
    unlock(&all);
}

static int receive(void)
{
    uint32_t words[WORDS];
    int torn = 0;

    lock(&all);
    uint32_t number = newest;
#ifndef FIXED
    unlock(&all);
#endif
    for (int i = 0; number && i < WORDS; i++)
        words[i] = __atomic_load_n(&blocks[number - 1].words[i], __ATOMIC_ACQUIRE);
#ifdef FIXED
    unlock(&all);
#endif
    for (int i = 1; number && i < WORDS; i++)
        torn |= words[i] != words[0];
    return torn;
}

static unsigned long serve(unsigned long order)
{
    if (who_calls())
        return receive();
    send(order + 1);
    return 0;
}

SERVER(serve)
