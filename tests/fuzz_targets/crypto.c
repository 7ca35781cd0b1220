/* The server crypto: digests and encrypts, for clients that name their data as in the PSA interfaces, by vectors.
 *
 *     DIGEST   of all input vectors, into the first 8 bytes of the output vector
 *     ENCRYPT  the input vector into the output vector
 *
 * req_arg is the operation. The request is at the start of the memory passed; a vector is an address in that memory and
 * a size. resp_val is the number of bytes in the output vector, or an error number with a minus sign.
 *
 * Bug: nobody checks that a vector lies in the memory passed. The server reads and writes its own memory for a client,
 * or what is not there at all.
 *
 * fuzz: --as server
 * finds: pointer, fault
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "eapp.h"

#define MOST_INPUTS 3
#define LARGEST 512

enum operation { DIGEST = 1, ENCRYPT = 2 };

struct vector {
    uint64_t address;
    uint64_t size;
};

struct request {
    uint64_t inputs; /* how many */
    struct vector in[MOST_INPUTS];
    struct vector out;
};

struct memory {
    uint64_t address;
    uint64_t size;
};

static bool is_good(const struct memory *memory, const struct vector *vector)
{
    if (vector->size > LARGEST)
        return false;
#ifdef FIXED
    if (vector->address < memory->address || vector->address - memory->address > memory->size)
        return false;
    return vector->size <= memory->size - (vector->address - memory->address);
#else
    (void)memory;
    return true;
#endif
}

static __attribute__((noinline)) long digest(const struct request *request)
{
    uint64_t value = 0xcbf29ce484222325;

    if (request->out.size < sizeof value)
        return -EINVAL;
    for (uint64_t i = 0; i < request->inputs; i++) {
        const unsigned char *bytes = (const unsigned char *)request->in[i].address;

        for (uint64_t at = 0; at < request->in[i].size; at++)
            value = (value ^ bytes[at]) * 0x100000001b3;
    }
    memcpy((void *)request->out.address, &value, sizeof value);
    return sizeof value;
}

static __attribute__((noinline)) long encrypt(const struct request *request)
{
    const unsigned char *from = (const unsigned char *)request->in[0].address;
    unsigned char *to = (unsigned char *)request->out.address;
    uint64_t size = request->in[0].size, key = 0x2545f4914f6cdd1d;

    if (request->inputs != 1 || request->out.size < size)
        return -EINVAL;
    for (uint64_t at = 0; at < size; at++) {
        key = key * 6364136223846793005 + 1442695040888963407;
        to[at] = from[at] ^ (unsigned char)(key >> 56);
    }
    return (long)size;
}

static long serve(unsigned long operation, const struct memory *memory)
{
    struct request request;

    memcpy(&request, (const void *)memory->address, sizeof request);
    if (request.inputs == 0 || request.inputs > MOST_INPUTS)
        return -EINVAL;
    for (uint64_t i = 0; i < request.inputs; i++)
        if (!is_good(memory, &request.in[i]))
            return -EACCES;
    if (!is_good(memory, &request.out))
        return -EACCES;
    switch (operation) {
    case DIGEST:
        return digest(&request);
    case ENCRYPT:
        return encrypt(&request);
    default:
        return -ENOSYS;
    }
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct memory memory = {args[11], args[12]};
    struct call_enclave_arg_t ret = {.resp_val = -EINVAL, .req_vaddr = args[11], .req_size = args[12]};

    if (memory.address)
        ret.resp_val = serve(args[10], &memory);
    SERVER_RETURN(&ret);
}
