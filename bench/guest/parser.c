/* A server for fuzzing: parses records of a request, about 1,000 instructions for 100 bytes. No ocall, no bug. */
#include "eapp.h"

struct record {
    unsigned char kind, size;
    unsigned char data[];
};

static unsigned long sum(const unsigned char *data, unsigned size)
{
    unsigned long value = 0;

    for (unsigned i = 0; i < size; i++)
        value = value * 31 + data[i];
    return value;
}

static unsigned long parse(const unsigned char *at, const unsigned char *end)
{
    unsigned long total = 0;

    while (end - at >= 2 && at[0]) {
        const struct record *record = (const struct record *)at;

        if (record->size > end - at - 2)
            return total;
        switch (record->kind) {
        case 1: total += sum(record->data, record->size); break;
        case 2: total ^= record->size; break;
        case 3: total += record->size > 3 ? record->data[3] : 0; break;
        default: total++;
        }
        at += 2 + record->size;
    }
    return total;
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    const unsigned char *request = (const unsigned char *)args[11];
    struct call_enclave_arg_t ret = {.req_vaddr = args[11], .req_size = args[12]};

    if (request)
        ret.resp_val = parse(request, request + args[12]);
#ifdef PRINT
    eapp_print("parsed\n");
#endif
    SERVER_RETURN(&ret);
}
