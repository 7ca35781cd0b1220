/* Asks for reports and keys in every way, good and bad. Shared memory: page 0 results in order, then pages that
 * the answers go to; tests/monitor/test_attest.py reads them. */
#include "eapp.h"

#define NOWHERE 0x2000000000UL

static const char nul_free[16] __attribute__((aligned(4096))) = "server";

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;

    long *result = (long *)args[10];
    char *shm = (char *)args[10], *end = shm + args[11];
    struct report_t *own = (void *)(shm + 0x1000), *server = (void *)(shm + 0x2000 - 100);
    unsigned char *keys = (void *)(shm + 0x3000);

    *result++ = get_report(0, own, 7);
    *result++ = get_report("server", server, ~0UL); /* crosses a page end */
    *result++ = get_report("nobody", own, 7);
    *result++ = get_report("", own, 7);
    *result++ = get_report(0, (void *)NOWHERE, 7);
    *result++ = get_report(0, (void *)(end - 100), 7); /* the rest is not mapped */
    *result++ = get_report(0, (void *)nul_free, 7);    /* not writable */
    *result++ = get_report(0, (void *)~0UL, 7);
    *result++ = get_report("server", (void *)(end - 100), 7);

    *result++ = eapp_derive_key(EAPP_ENCLAVE_KEY, keys, 32);
    *result++ = eapp_derive_key(EAPP_STORAGE_KEY, keys + 32, 32);
    *result++ = eapp_derive_key(EAPP_ENCLAVE_KEY, keys + 0x1000 - 10, 100); /* crosses a page end */
    *result++ = eapp_derive_key(2, keys, 32);
    *result++ = eapp_derive_key(-1, keys, 32);
    *result++ = eapp_derive_key(EAPP_ENCLAVE_KEY, keys, 0);
    *result++ = eapp_derive_key(EAPP_ENCLAVE_KEY, keys, 255 * 32 + 1);
    *result++ = eapp_derive_key(EAPP_ENCLAVE_KEY, keys, ~0UL);
    *result++ = eapp_derive_key(EAPP_ENCLAVE_KEY, end - 5, 32);
    *result++ = eapp_derive_key(EAPP_ENCLAVE_KEY, (void *)NOWHERE, 32);
    *result++ = eapp_derive_key(EAPP_ENCLAVE_KEY, (void *)nul_free, 32);
    EAPP_RETURN(0);
}
