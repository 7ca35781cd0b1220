/* The enclave calls of eapp.h: requests that the monitor answers itself (ABI section 3). */
#include <string.h>

#include "eapp.h"
#include "ecall.h"

/* The monitor reads a name as 16 bytes. A copy makes sure that all of them are there: a short name at the end of a
 * page might have no page behind it.
 */
struct name {
    char bytes[16];
};

static struct name padded(const char *text)
{
    struct name name;
    strncpy(name.bytes, text, sizeof name.bytes);
    return name;
}

void eapp_yield(void)
{
    enclave_call(CALL_YIELD, 0, 0, 0, 0);
}

unsigned long get_enclave_id(void)
{
    return enclave_call(CALL_ENCLAVE_ID, 0, 0, 0, 0);
}

unsigned long eapp_get_enclave_id(void)
{
    return get_enclave_id();
}

long get_caller_id(void)
{
    return (long)enclave_call(CALL_CALLER_ID, 0, 0, 0, 0);
}

long acquire_enclave(const char *name)
{
    struct name server = padded(name);
    return (long)enclave_call(CALL_ACQUIRE_SERVER, (unsigned long)server.bytes, 0, 0, 0);
}

long call_enclave(unsigned long handle, struct call_enclave_arg_t *arg)
{
    return (long)enclave_call(CALL_CALL_ENCLAVE, handle, (unsigned long)arg, 0, 0);
}

long asyn_enclave_call(const char *name, struct call_enclave_arg_t *arg)
{
    struct name receiver = padded(name);
    return (long)enclave_call(CALL_ASYNCHRONOUS, (unsigned long)receiver.bytes, (unsigned long)arg, 0, 0);
}

long split_mem_region(unsigned long address, unsigned long size, unsigned long split_address)
{
    return (long)enclave_call(CALL_SPLIT_RELAY, address, size, split_address, 0);
}

long get_report(const char *name, struct report_t *report, unsigned long nonce)
{
    struct name other;

    if (name)
        other = padded(name);
    return (long)enclave_call(CALL_REPORT, name ? (unsigned long)other.bytes : 0, (unsigned long)report, nonce, 0);
}

long eapp_derive_key(enum eapp_key_kind kind, void *key, size_t size)
{
    return (long)enclave_call(CALL_DERIVE_KEY, kind, (unsigned long)key, size, 0);
}

void *eapp_shm_attach(unsigned long key)
{
    return (void *)enclave_call(CALL_SHM_ATTACH, key, 0, 0, 0);
}

long eapp_shm_stat(unsigned long key, struct shm_stat_t *stat)
{
    return (long)enclave_call(CALL_SHM_STAT, key, (unsigned long)stat, 0, 0);
}
