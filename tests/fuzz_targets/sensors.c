/* The server sensors: names sensors, and gives what they have measured.
 *
 *     NAME   gives a sensor a name of letters, up to its NUL
 *     READ   gives some values of a sensor: the reply goes to the start of the page passed
 *
 * Bug: the whole reply is copied to the caller, but only as many values as were asked for are set. What is in the
 * others is from the stack: of an earlier call, of another client.
 *
 * fuzz: --as server --calls 3 --oracle stale
 * finds: stale
 */
#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "eapp.h"

#define SENSORS 4
#define NAME_SIZE 32
#define MOST_VALUES 8

enum operation { NAME = 1, READ = 2 };

struct request {
    uint32_t sensor;
    uint32_t count; /* of READ */
    char name[NAME_SIZE];
};

struct reply {
    uint32_t sensor;
    uint32_t count;
    uint64_t values[MOST_VALUES];
    char name[NAME_SIZE];
};

static char names[SENSORS][NAME_SIZE];

static __attribute__((noinline)) long give_name(const struct request *request)
{
    char name[2 * NAME_SIZE] = {0};
    size_t size = 0;

    memcpy(name, request->name, NAME_SIZE);
    while (size < NAME_SIZE && isalpha((unsigned char)name[size]))
        size++;
    if (size == 0 || size == NAME_SIZE || name[size])
        return -EINVAL;
    memset(name + size, 0, NAME_SIZE - size);
    memcpy(names[request->sensor], name, NAME_SIZE);
    return 0;
}

static __attribute__((noinline)) long read(const struct request *request, void *answer)
{
    struct reply reply;
    uint32_t count = request->count;

    if (count == 0 || count > MOST_VALUES)
        return -EINVAL;
#ifdef FIXED
    memset(&reply, 0, sizeof reply);
#endif
    reply.sensor = request->sensor;
    reply.count = count;
    for (uint32_t i = 0; i < count; i++)
        reply.values[i] = 1000 * (request->sensor + 1) + i * i;
    memcpy(reply.name, names[request->sensor], NAME_SIZE);
    memcpy(answer, &reply, sizeof reply);
    return (long)count;
}

static long serve(unsigned long operation, void *page)
{
    struct request request;

    memcpy(&request, page, sizeof request);
    if (request.sensor >= SENSORS)
        return -EINVAL;
    switch (operation) {
    case NAME:
        return give_name(&request);
    case READ:
        return read(&request, page);
    default:
        return -ENOSYS;
    }
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    void *page = (void *)args[11];
    struct call_enclave_arg_t ret = {.resp_val = -EINVAL, .req_vaddr = args[11], .req_size = args[12]};

    if (page)
        ret.resp_val = serve(args[10], page);
    SERVER_RETURN(&ret);
}
