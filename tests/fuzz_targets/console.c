/* The server console: the maker's access to a device, behind a magic number, a key and a command.
 *
 * resp_val is what the command gives, or an error number with a minus sign.
 *
 * Bug: "selftest" gives the result of the test whose number is in the request, and there are eight: the number is not
 * looked at.
 *
 * fuzz: --as server
 * finds: fault
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "eapp.h"

#define MAGIC 0x8c6f3e51U
#define KEY 0x9d2c5680efc60a17UL
#define TESTS 8

struct request {
    uint32_t magic;
    uint32_t test;
    uint64_t key;
    char command[16];
};

static uint64_t results[TESTS] = {0, 0, 7, 0, 0, 0, 31, 0};

static __attribute__((noinline)) long selftest(uint32_t test)
{
#ifdef FIXED
    if (test >= TESTS)
        return -EINVAL;
#endif
    results[test]++;
    return (long)results[test];
}

static long serve(const struct request *request)
{
    if (request->magic != MAGIC)
        return -EINVAL;
    if (request->key != KEY)
        return -EACCES;
    if (memcmp(request->command, "version", 8) == 0)
        return 0x10203;
    if (memcmp(request->command, "selftest", 9) == 0)
        return selftest(request->test);
    return -ENOSYS;
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    const struct request *request = (const struct request *)args[11];
    struct call_enclave_arg_t ret = {.resp_val = -EINVAL, .req_vaddr = args[11], .req_size = args[12]};

    if (request)
        ret.resp_val = serve(request);
    SERVER_RETURN(&ret);
}
