/* A kernel program: prints two characters, and ends with 5. */
#include "eapp.h"

static long firmware(long number, long value)
{
    register long a7 __asm__("a7") = number;
    register long a0 __asm__("a0") = value;

    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7) : "memory");
    return a0;
}

static void put(char character)
{
    firmware(1, character);
}

int EAPP_ENTRY main()
{
    put('h');
    put('i');
    put('\n');
    firmware(8, 5);
    return 0;
}
