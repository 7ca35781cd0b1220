/* The server bank: accounts, of which the first is the bank's own and open.
 *
 *     OPEN      opens an account
 *     BALANCE   gives its balance
 *     TRANSFER  moves an amount from one account to another
 *
 * req_arg is the operation. resp_val is 0 or the balance, or an error number with a minus sign: then nothing has
 * changed.
 *
 * Bug: TRANSFER takes the amount from one account before it looks whether the other one is open. If it is not the call
 * is refused, and the money is gone.
 *
 * fuzz: --as server --calls 3 --oracle refusal
 * finds: refusal
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "eapp.h"

#define ACCOUNTS 8
#define CAPITAL 1000000

enum operation { OPEN = 1, BALANCE = 2, TRANSFER = 3 };

struct request {
    uint32_t account;
    uint32_t to; /* of TRANSFER */
    uint64_t amount;
};

static struct account {
    bool open;
    uint64_t balance; /* all together are CAPITAL */
} accounts[ACCOUNTS] = {{true, CAPITAL}};

static long transfer(struct account *from, struct account *to, uint64_t amount)
{
    if (amount == 0 || amount > from->balance)
        return -EINVAL;
#ifdef FIXED
    if (!to->open)
        return -ENOENT;
    from->balance -= amount;
#else
    from->balance -= amount;
    if (!to->open)
        return -ENOENT;
#endif
    to->balance += amount;
    return 0;
}

static long serve(unsigned long operation, const struct request *request)
{
    if (request->account >= ACCOUNTS)
        return -EINVAL;

    struct account *account = &accounts[request->account];

    if (operation == OPEN) {
        if (account->open)
            return -EEXIST;
        account->open = true;
        return 0;
    }
    if (!account->open)
        return -ENOENT;
    switch (operation) {
    case BALANCE:
        return (long)account->balance;
    case TRANSFER:
        return request->to < ACCOUNTS ? transfer(account, &accounts[request->to], request->amount) : -EINVAL;
    default:
        return -ENOSYS;
    }
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    const struct request *request = (const struct request *)args[11];
    struct call_enclave_arg_t ret = {.resp_val = -EINVAL, .req_vaddr = args[11], .req_size = args[12]};

    if (request)
        ret.resp_val = serve(args[10], request);
    SERVER_RETURN(&ret);
}
