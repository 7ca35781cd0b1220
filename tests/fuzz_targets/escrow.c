/* Handles parcels, which come as relay pages: keeps them, or passes them on to the enclave "escrow-next".
 *
 * A parcel counts the enclaves that have handled it. The host gets those that are kept when this enclave ends.
 *
 * Bug: a parcel that is passed on is counted when it is gone already: the page belongs to the next enclave then.
 *
 * fuzz: --as enclave --channel relay
 * finds: given-away
 */
#include <errno.h>
#include <stdint.h>

#include "eapp.h"

#define MAGIC 0x4c435250U /* "PRCL" */
#define MOST_HOPS 8

enum action { KEEP = 1, PASS_ON = 2 };

struct parcel {
    uint32_t magic;
    uint16_t action;
    uint16_t hops;
    uint64_t value;
};

static __attribute__((noinline)) long pass_on(struct parcel *parcel, unsigned long size)
{
    struct call_enclave_arg_t arg = {.req_vaddr = (unsigned long)parcel, .req_size = size};

#ifdef FIXED
    parcel->hops++;
    return asyn_enclave_call("escrow-next", &arg);
#else
    long result = asyn_enclave_call("escrow-next", &arg);

    if (result == 0)
        parcel->hops++;
    return result;
#endif
}

static long handle(struct parcel *parcel, unsigned long size)
{
    if (parcel->magic != MAGIC || parcel->hops >= MOST_HOPS)
        return -EINVAL;
    switch (parcel->action) {
    case KEEP:
        parcel->hops++;
        return (long)(parcel->value >> 1);
    case PASS_ON:
        return parcel->value ? pass_on(parcel, size) : -EINVAL;
    default:
        return -ENOSYS;
    }
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct parcel *parcel = (struct parcel *)args[13];
    unsigned long size = args[14];

    if (!parcel || size < sizeof *parcel)
        EAPP_RETURN(1);
    EAPP_RETURN(handle(parcel, size));
}
