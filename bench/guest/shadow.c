/* Prints, so that the host can stop it while it lives, and exits. */
#include "eapp.h"
#include "print.h"

static unsigned long data[3 * PAGE_SIZE / 8] = {1}; /* pages that every instance has of its own */

int EAPP_ENTRY main()
{
    ((volatile unsigned long *)data)[1] = 2;
    eapp_print("here\n");
    EAPP_RETURN(0);
}
