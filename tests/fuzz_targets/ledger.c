/* The server ledger: adds a batch of postings to accounts.
 *
 * The page passed has the batch. resp_val is how many of the postings were made, or an error number with a minus sign.
 *
 * Bug: the size of a batch is computed in 32 bits. For 2^28 postings of 16 bytes it is that of the header alone, which
 * fits; the loop then runs off the mapping.
 *
 * fuzz: --as server
 * finds: fault
 */
#include <errno.h>
#include <stdint.h>

#include "eapp.h"

#define VERSION 3
#define ACCOUNTS 16

struct posting {
    uint64_t account;
    uint64_t amount;
};

struct batch {
    uint32_t version;
    uint32_t count;
    struct posting postings[];
};

static uint64_t balances[ACCOUNTS];

static __attribute__((noinline)) long post(const struct batch *batch)
{
    long made = 0;

    for (uint32_t i = 0; i < batch->count; i++) {
        const struct posting *posting = &batch->postings[i];

        if (posting->account >= ACCOUNTS || posting->amount == 0)
            continue;
        balances[posting->account] += posting->amount;
        made++;
    }
    return made;
}

static long serve(const struct batch *batch, unsigned long size)
{
    if (batch->version != VERSION)
        return -EINVAL;
    if (batch->count == 0)
        return 0;
#ifdef FIXED
    unsigned long needed = sizeof *batch + batch->count * sizeof *batch->postings;
#else
    uint32_t needed = (uint32_t)sizeof *batch + batch->count * (uint32_t)sizeof *batch->postings;
#endif
    if (needed > size)
        return -EINVAL;
    return post(batch);
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    const struct batch *batch = (const struct batch *)args[11];
    struct call_enclave_arg_t ret = {.resp_val = -EINVAL, .req_vaddr = args[11], .req_size = args[12]};

    if (batch)
        ret.resp_val = serve(batch, args[12]);
    SERVER_RETURN(&ret);
}
