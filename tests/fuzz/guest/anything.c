/* Does what its input says: pairs of bytes, what and with which value.
 *
 * A server, or with ENCLAVE an enclave, whose input is the first there is of relay pages, shared memory, random
 * numbers. What it does is of every kind that a snapshot has to undo.
 */
#include <stdint.h>
#include <string.h>

#include "eapp.h"
#include "ecall.h"
#include "print.h"

#define MOST 8

enum what {
    END, PRINT, MMAP, MUNMAP, GROW, SHRINK, CALL, SHM_GET, SHM_ATTACH, SHM_DETACH, SHM_DESTROY, RANDOM, YIELD, STORE, STACK,
    KEY, READ_SECTOR, WRITE_SECTOR, SPLIT, SEND, RETURN_RELAY, CODE, FLOAT, ASK, RESPONSE, KEEP,
    COUNT, FAULT, HANG, EXIT, WRONG_CALL, LAST
};

static unsigned long counter = 1;
static void *kept[MOST];
static unsigned long kept_size[MOST];
static unsigned char store[4 * 4096];
/* Data and code: li a0, 1; ret. */
static unsigned char code[4096] __attribute__((aligned(4096))) = {0x13, 0x05, 0x10, 0x00, 0x67, 0x80, 0x00, 0x00};
static double number = 1.5;

struct relay { unsigned long va, size; };

static void keep(void *memory, unsigned long size)
{
    for (int i = 0; i < MOST; i++)
        if (!kept[i]) {
            kept[i] = memory;
            kept_size[i] = size;
            return;
        }
    eapp_munmap(memory, size);
}

static __attribute__((noinline)) int deep(int depth)
{
    volatile unsigned char room[512];

    room[depth & 511] = (unsigned char)depth;
    return depth > 0 ? deep(depth - 1) + room[depth & 511] : 0;
}

static __attribute__((noinline)) void call_other(const unsigned char *input, unsigned long size, int value)
{
    struct call_enclave_arg_t arg = {.req_arg = (unsigned long)value};
    long handle = acquire_enclave("other");
    unsigned char *page = value & 1 ? eapp_mmap(NULL, PAGE_SIZE) : NULL;

    if (page) {
        memcpy(page, input, size < 64 ? size : 64);
        arg.req_vaddr = (unsigned long)page;
        arg.req_size = PAGE_SIZE;
    }
    if (handle < 0 || call_enclave((unsigned long)handle, &arg) != 0) {
        counter += 3;
        return;
    }
    counter += arg.resp_val;
    if (arg.req_vaddr)
        keep((void *)arg.req_vaddr, arg.req_size);
    if (arg.resp_vaddr)
        keep((void *)arg.resp_vaddr, arg.resp_size);
}

static __attribute__((noinline)) void run_code(int value)
{
    uint32_t load = 0x00000513U | (uint32_t)value << 20; /* li a0, value */

    if (value & 1)
        memcpy(code, &load, sizeof load);
    __asm__ volatile("fence.i" ::: "memory");
    if (((long (*)(void))(uintptr_t)code)() & 16)
        counter += 11;
    if (value & 2) /* the page is for data again */
        code[64]++;
}

static __attribute__((noinline)) void fault(int value)
{
    switch (value % 6) {
    case 0: *(volatile long *)0 = 1; break;
    case 1: counter += *(volatile unsigned long *)0x2000000000; break;
    case 2: __asm__ volatile("unimp"); break;
    case 3: ((void (*)(void))(uintptr_t)0x2000000001)(); break;
    case 4: *(volatile int *)(uintptr_t)&fault = 1; break; /* code is read only */
    default: deep(1 << 20);
    }
}

static void once(const unsigned char *at, unsigned long left, struct call_enclave_arg_t *ret, struct relay *relay)
{
    int value = at[1];
    struct call_enclave_arg_t arg;
    struct shm_stat_t stat;
    unsigned char bytes[64];
    unsigned long *words;

    switch (at[0] % LAST) {
    case PRINT: eapp_print("%d %lu\n", value, counter); break;
    case MMAP:
        words = eapp_mmap(value & 8 ? (void *)(0x2f00000000 + value * 0x1000UL) : NULL, (value % 4 + 1) * PAGE_SIZE);
        if (words) {
            for (int i = 0; i <= value % 4; i++)
                words[i * 512 + value % 512] += counter;
            keep(words, (value % 4 + 1) * PAGE_SIZE);
        }
        break;
    case MUNMAP:
        if (kept[value % MOST]) {
            *(unsigned long *)kept[value % MOST] = counter;
            counter += eapp_munmap(kept[value % MOST], kept_size[value % MOST]) == 0;
            kept[value % MOST] = NULL;
        }
        break;
    case GROW:
        words = eapp_sbrk(value % 3 * PAGE_SIZE);
        if (words != (void *)-1 && value % 3)
            words[-1] = counter;
        break;
    case SHRINK: counter += eapp_sbrk(-(long)(value % 3 * PAGE_SIZE)) != (void *)-1; break;
    case CALL: call_other(at + 2, left - 2, value); break;
    case SHM_GET:
        words = eapp_shm_get(value % 4, (value % 3 + 1) * PAGE_SIZE, 0);
        if (words && words != (void *)-1)
            words[value] += counter;
        break;
    case SHM_ATTACH:
        words = eapp_shm_attach(value % 4);
        if (words)
            words[value] += 7;
        break;
    case SHM_DETACH: counter += eapp_shm_detach(value % 4) == 0; break;
    case SHM_DESTROY: counter += eapp_shm_destroy(value % 4) == 0; break;
    case RANDOM:
        memset(bytes, 0, sizeof bytes);
        eapp_get_random(bytes, value % sizeof bytes);
        for (unsigned i = 0; i < sizeof bytes; i++)
            if (bytes[i] & 1)
                counter += i;
        break;
    case YIELD: eapp_yield(); counter += 5; break;
    case STORE: store[value * 64 % sizeof store] += (unsigned char)counter; break;
    case STACK: counter += deep(value % 64); break;
    case KEY: eapp_derive_key(value & 1, bytes, 16); counter += bytes[0]; break;
    case READ_SECTOR: counter += eapp_read_sector(value) == 0; break;
    case WRITE_SECTOR: counter += eapp_write_sector(value) == 0; break;
    case SPLIT: counter += split_mem_region(relay->va, relay->size, relay->va + PAGE_SIZE) == 0; break;
    case SEND:
        memset(&arg, 0, sizeof arg);
        arg.req_vaddr = value & 1 ? relay->va + PAGE_SIZE : relay->va;
        arg.req_size = value & 2 ? PAGE_SIZE : relay->size;
        counter += asyn_enclave_call(value & 4 ? "next" : "after", &arg) == 0;
        break;
    case RETURN_RELAY: counter += eapp_return_relay_page() == 0; break;
    case CODE: run_code(value); break;
    case FLOAT:
        number = number * value + 0.25;
        counter += number > 1000.0;
        break;
    case ASK: counter += get_enclave_id() + (unsigned long)get_caller_id(); break;
    case RESPONSE:
        if (ret && kept[value % MOST]) {
            ret->resp_vaddr = (unsigned long)kept[value % MOST];
            ret->resp_size = PAGE_SIZE;
            kept[value % MOST] = NULL;
        }
        break;
    case KEEP: /* the page that was passed */
        if (ret && ret->req_vaddr) {
            keep((void *)ret->req_vaddr, ret->req_size);
            *(unsigned long *)ret->req_vaddr = counter;
            ret->req_vaddr = ret->req_size = 0;
        }
        break;
    case COUNT:
        for (int i = 0; i < value; i++)
            counter = counter * 3 + (counter & 1 ? 1 : 2);
        eapp_shm_stat(value % 4, &stat);
        break;
    case FAULT: if (value < 192) fault(value); break;
    case HANG: while (value > 128) (*(volatile unsigned long *)&counter)++; break;
    case EXIT: if (value > 64) eapp_return((unsigned long)value); break;
    case WRONG_CALL:
        counter += enclave_call(CALL_CALL_ENCLAVE, (unsigned long)value, 0x1000, 0, 0);
        if (value > 200)
            enclave_call((unsigned long)value, 0, 0, 0, 0);
        break;
    }
    counter++;
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    unsigned char input[256];
    unsigned long size = 0;
    struct relay relay = {0, 0};
    struct call_enclave_arg_t *ret = NULL;

#ifdef ENCLAVE
    relay.va = args[13];
    relay.size = args[14];
    if (relay.va)
        memcpy(input, (void *)relay.va, size = sizeof input);
    else if (args[10])
        memcpy(input, (void *)args[10], size = sizeof input);
    else
        size = (unsigned long)eapp_get_random(input, sizeof input);
    if (args[10])
        ((volatile unsigned char *)args[10])[counter % 4096] += 1;
#else
    struct call_enclave_arg_t answer = {.req_vaddr = args[11], .req_size = args[12]};

    ret = &answer;
    relay.va = args[11];
    relay.size = args[12];
    if (args[11])
        memcpy(input, (void *)args[11], size = sizeof input);
    counter += args[10];
#endif
    for (unsigned long at = 0; at + 1 < size && input[at] % LAST != END; at += 2)
        once(input + at, size - at, ret, &relay);
#ifdef ENCLAVE
    EAPP_RETURN(counter);
#else
    answer.resp_val = counter;
    SERVER_RETURN(&answer);
#endif
}
