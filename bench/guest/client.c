/* Makes one kind of call over and over. Shared memory says which and how often, and takes the result:
 *   u64 operation, count, pages, result
 * bench/micro.py knows the same numbers.
 */
#include "eapp.h"
#include "print.h"

enum {
    NOTHING, ENCLAVE_ID, ACQUIRE, CALL, PRINT, MMAP_MUNMAP,
    TRAP, CALLER_ID, YIELD, REPORT, DERIVE_KEY, SBRK, READ_SECTOR, WRITE_SECTOR, RANDOM, SHM_GET_DESTROY,
    SHM_ATTACH_DETACH, SHM_STAT, TOUCH, FLUSH_TOUCH, CALL_EACH, CALL_CHAIN,
};

struct order {
    unsigned long operation, count, pages, result;
};

#define KEY 77

static struct report_t report;
static unsigned char few[32];

static long call(long server, void *area, unsigned long size, unsigned long value)
{
    struct call_enclave_arg_t arg = {
        .req_arg = value, .req_vaddr = (unsigned long)area, .req_size = area ? size : 0};
    return call_enclave(server, &arg) || arg.req_vaddr != (unsigned long)area;
}

/* The servers of bench/scale.py are called n0, n1, ... */
static long numbered(unsigned long number)
{
    char name[16] = {'n'}, digits[12];
    int length = 0, at = 1;
    do
        digits[length++] = '0' + number % 10;
    while (number /= 10);
    while (length)
        name[at++] = digits[--length];
    return acquire_enclave(name);
}

static void linux_ioctl(void)
{
    register unsigned long a7 __asm__("a7") = 29;
    register unsigned long a6 __asm__("a6") = 0;
    register unsigned long a0 __asm__("a0");
    __asm__ volatile("ecall" : "=r"(a0) : "r"(a6), "r"(a7) : "memory");
}

static long mmap_munmap(void)
{
    void *mapping = eapp_mmap(0, PAGE_SIZE);
    return !mapping || eapp_munmap(mapping, PAGE_SIZE);
}

static long touch(volatile unsigned long *area, unsigned long pages)
{
    for (unsigned long page = 0; page < pages; page++)
        (void)area[page * (PAGE_SIZE / 8)];
    return 0;
}

static long get_destroy(void)
{
    return !eapp_shm_get(KEY, PAGE_SIZE, 0) || eapp_shm_destroy(KEY) || eapp_shm_detach(KEY);
}

static long once(unsigned long operation, long server, void *area, unsigned long pages, unsigned long turn)
{
    struct shm_stat_t stat;

    switch (operation) {
    case ENCLAVE_ID: return get_enclave_id() > 1000000;
    case ACQUIRE: return acquire_enclave("bench") < 0;
    case CALL: return call(server, area, pages * PAGE_SIZE, 0);
    case PRINT: eapp_print("0123456789abcdef\n"); return 0;
    case MMAP_MUNMAP: return mmap_munmap();
    case TRAP: linux_ioctl(); return 0;
    case CALLER_ID: return get_caller_id() != -1;
    case YIELD: eapp_yield(); return 0;
    case REPORT: return get_report(0, &report, turn) != 0;
    case DERIVE_KEY: return eapp_derive_key(EAPP_STORAGE_KEY, few, sizeof few) != 0;
    case SBRK: return eapp_sbrk(PAGE_SIZE) == (void *)-1 || eapp_sbrk(-(long)PAGE_SIZE) == (void *)-1;
    case READ_SECTOR: return eapp_read_sector(1) != 0;
    case WRITE_SECTOR: return eapp_write_sector(1) != 0;
    case RANDOM: return eapp_get_random(few, sizeof few) != sizeof few;
    case SHM_GET_DESTROY: return get_destroy();
    case SHM_ATTACH_DETACH: return !eapp_shm_attach(KEY) || eapp_shm_detach(KEY);
    case SHM_STAT: return eapp_shm_stat(KEY, &stat) != 0;
    case TOUCH: return touch(area, pages);
    case FLUSH_TOUCH: return mmap_munmap() || touch(area, pages);
    case CALL_EACH: return call(numbered(turn % pages), 0, 0, 0);
    case CALL_CHAIN: return call(server, 0, 0, pages);
    }
    return 0;
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    volatile struct order *order = (struct order *)args[10];
    unsigned long operation = order->operation, count = order->count, pages = order->pages, failures = 0;
    void *area = pages && operation < CALL_EACH ? eapp_mmap(0, pages * PAGE_SIZE) : 0;
    long server = 0;

    if (operation == CALL)
        server = acquire_enclave("bench");
    if (operation == CALL_CHAIN)
        server = numbered(pages - 1);
    if (operation == SHM_STAT || operation == SHM_ATTACH_DETACH)
        failures += !eapp_shm_get(KEY, PAGE_SIZE, 0);
    for (unsigned long i = 0; i < count; i++)
        failures += once(operation, server, area, pages, i);
    if (operation == SHM_ATTACH_DETACH)
        failures += !eapp_shm_attach(KEY);
    if (operation == SHM_STAT || operation == SHM_ATTACH_DETACH)
        failures += eapp_shm_destroy(KEY) || eapp_shm_detach(KEY);
    order->result = failures;
    EAPP_RETURN(failures);
}
