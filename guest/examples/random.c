/* Asks the host for random numbers, a few and more than two pages of them.
 *
 * The host decides what they are: where that matters, mix them with a key from eapp_derive_key.
 */
#include <stdio.h>

#include "eapp.h"
#include "print.h"

static unsigned char many[2 * PAGE_SIZE + 100];

int EAPP_ENTRY main()
{
    unsigned char few[8];
    unsigned long ones = 0;

    if (eapp_get_random(few, sizeof few) != sizeof few || eapp_get_random(many, sizeof many) != sizeof many) {
        eapp_print("[random] not enough of them\n");
        EAPP_RETURN(1);
    }
    for (unsigned long i = 0; i < sizeof few; i++)
        printf("%02x", few[i]);
    for (unsigned long i = 0; i < sizeof many; i++)
        for (int bit = 0; bit < 8; bit++)
            ones += many[i] >> bit & 1;
    eapp_print("\n[random] %lu of %lu bits are ones\n", ones, 8 * sizeof many);
    EAPP_RETURN(eapp_get_random((void *)0x2000000000UL, 8) != -1); /* nothing is mapped there */
}
