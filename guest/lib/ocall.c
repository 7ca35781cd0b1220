/* The ocalls of eapp.h: requests that the monitor passes on to the host (ABI section 4). */
#include "eapp.h"
#include "ecall.h"

void *eapp_mmap(void *address, size_t size)
{
    return (void *)ocall(OCALL_MMAP, (unsigned long)address, size, 0);
}

long eapp_munmap(void *address, size_t size)
{
    return (long)ocall(OCALL_MUNMAP, (unsigned long)address, size, 0);
}

void *eapp_sbrk(long size)
{
    return (void *)ocall(OCALL_SBRK, (unsigned long)size, 0, 0);
}

long eapp_read_sector(unsigned long sector)
{
    return (long)ocall(OCALL_READ_SECTOR, sector, 0, 0);
}

long eapp_write_sector(unsigned long sector)
{
    return (long)ocall(OCALL_WRITE_SECTOR, sector, 0, 0);
}

long eapp_return_relay_page(void)
{
    return (long)ocall(OCALL_RETURN_RELAY, 0, 0, 0);
}

long eapp_get_random(void *buffer, size_t size)
{
    return (long)ocall(OCALL_GET_RANDOM, (unsigned long)buffer, size, 0);
}

void *eapp_shm_get(unsigned long key, size_t size, int flags)
{
    unsigned long address = ocall(OCALL_SHM_GET, key, size, (unsigned long)flags);
    return address == -1UL ? NULL : (void *)address;
}

long eapp_shm_detach(unsigned long key)
{
    return (long)ocall(OCALL_SHM_DETACH, key, 0, 0);
}

long eapp_shm_destroy(unsigned long key)
{
    return (long)ocall(OCALL_SHM_DESTROY, key, 0, 0);
}
