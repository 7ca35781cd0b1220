/* The server signer: makes a tag over a text with a key that never leaves it.
 *
 * req_arg is SIGN. The page passed has the request at its start. To save a copy, key and text are put together in the
 * second half of the page, which is wiped before the page goes back.
 *
 * Bug: for an algorithm that it does not know the server leaves before the page is wiped, with its key in it.
 *
 * fuzz: --as server --secret device_key
 * finds: secret
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "eapp.h"

#define SIGN 2
#define KEY_SIZE 32
#define LONGEST_TEXT 1024
#define SCRATCH (PAGE_SIZE / 2)

enum algorithm { FNV = 0, SHIFT = 1 };

struct request {
    uint32_t algorithm;
    uint32_t size;
    uint64_t tag; /* the answer */
    unsigned char text[LONGEST_TEXT];
};

unsigned char device_key[KEY_SIZE] = {
    0xa7, 0x1c, 0x5e, 0x92, 0x3b, 0xd0, 0x68, 0xf4, 0x09, 0xc3, 0x7a, 0xe1, 0x56, 0x8d, 0x24, 0xbf,
    0x31, 0xea, 0x97, 0x4c, 0xd8, 0x05, 0x6f, 0xb2, 0x83, 0x1e, 0xc9, 0x70, 0x2d, 0xf6, 0x5b, 0xa4,
};

static uint64_t fnv(const unsigned char *bytes, size_t size)
{
    uint64_t tag = 0xcbf29ce484222325;

    for (size_t i = 0; i < size; i++)
        tag = (tag ^ bytes[i]) * 0x100000001b3;
    return tag;
}

static uint64_t shift(const unsigned char *bytes, size_t size)
{
    uint64_t tag = size;

    for (size_t i = 0; i < size; i++)
        tag = (tag << 7 | tag >> 57) * 0x9e3779b97f4a7c15 + bytes[i];
    return tag;
}

static long sign(struct request *request)
{
    unsigned char *scratch = (unsigned char *)request + SCRATCH;
    size_t size = request->size;
    long result = 0;

    if (size == 0 || size > LONGEST_TEXT)
        return -EINVAL;
    memcpy(scratch, device_key, KEY_SIZE);
    memcpy(scratch + KEY_SIZE, request->text, size);
    switch (request->algorithm) {
    case FNV:
        request->tag = fnv(scratch, KEY_SIZE + size);
        break;
    case SHIFT:
        request->tag = shift(scratch, KEY_SIZE + size);
        break;
    default:
#ifdef FIXED
        result = -ENOSYS;
        break;
#else
        return -ENOSYS;
#endif
    }
    memset(scratch, 0, KEY_SIZE + size);
    return result;
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct request *request = (struct request *)args[11];
    struct call_enclave_arg_t ret = {.resp_val = -EINVAL, .req_vaddr = args[11], .req_size = args[12]};

    if (request && args[10] == SIGN)
        ret.resp_val = sign(request);
    SERVER_RETURN(&ret);
}
