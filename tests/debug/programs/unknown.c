/* Writes a word twice, and makes a call that there is not. */
#include "eapp.h"

static volatile long word;

int EAPP_ENTRY main()
{
    word = 1;
    word = 2;
    register long number __asm__("a7") = 9999;
    register long kind __asm__("a6") = 0;
    __asm__ volatile("ecall" : : "r"(number), "r"(kind) : "memory");
    EAPP_RETURN(0);
}
