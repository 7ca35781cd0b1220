/* Stores eight bytes that begin four before the end of the address space. */
#include "eapp.h"

int EAPP_ENTRY main()
{
    __asm__ volatile("sd zero, 0(%0)" : : "r"(-4L) : "memory");
    EAPP_RETURN(0);
}
