/* printHex: bytes in hexadecimal. Weak, as many programs have their own: see penglai-enclave.h. */
#include "internal.h"

#include <stdio.h>

__attribute__((weak)) void printHex(unsigned char *bytes, unsigned int count)
{
    flockfile(stdout);
    for (unsigned int i = 0; i < count; i++)
        printf("%02x", bytes[i]);
    putchar('\n');
    funlockfile(stdout);
}
