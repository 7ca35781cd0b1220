/* Goes wrong in the way that the first byte of the shared memory names; each line is named in test_reports.py. */
#include <assert.h>
#include <stdlib.h>
#include "eapp.h"

static const int table[4] = {1, 2, 3, 4};

__attribute__((noinline)) static int inner(volatile int *at, int value)
{
    volatile int kept[10];
    kept[value & 7] = value;
    *at = value; /* inner */
    return kept[3];
}

__attribute__((noinline)) static int outer(int value)
{
    return inner((int *)0x123456780, value + 1) + 1; /* outer */
}

__attribute__((noinline)) static int deep(int value)
{
    volatile char kept[256];
    kept[value & 255] = 1;
    return deep(value + 1) + kept[3]; /* deep */
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t call = {0};
    switch (args[10] ? *(char *)args[10] : (int)args[10] + 's') {
    case 'o': return outer(1) - 1; /* main */
    case 'd': return deep(1);
    case 'a': assert(!args[10]); break;
    case 'b': abort();
    case 'w': *(volatile int *)&table[1] = 5; break;
    case 'n': *(volatile int *)8 = 5; break;
    case 'v': __asm__ volatile(".word 0xcd027057"); break;
    case 'z': __asm__ volatile(".word 0"); break;
    case 'j': ((void (*)(void))table)(); break;
    case 'l': { register long a7 __asm__("a7") = 65, a6 __asm__("a6") = 0x100101; __asm__ volatile("ecall" :: "r"(a7), "r"(a6)); break; }
    case 't': __asm__ volatile("lw a0, 8(tp)" ::: "a0"); break;
    case 'e': EAPP_RETURN(1);
    case 'r': SERVER_RETURN(&call);
    case 'c': call_enclave(acquire_enclave("wrong"), &call); break; /* calls */
    case 'f': { void *volatile block = malloc(8); free(block); free(block); break; }
    case 'x': *(volatile int *)0x6e6f757265626d75UL = 5; break;
    case 'y': *(volatile int *)0x8000000000000000UL = 5; break;
    case 's': outer(args[10]); break;
    case 'i': for (;;) __asm__ volatile(""); /* spins */
    }
    EAPP_RETURN(0);
}
