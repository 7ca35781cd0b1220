/* Counts for long. */
#include "eapp.h"

static volatile long count, most = 3000000000;

int EAPP_ENTRY main()
{
    for (count = 0; count < most; count++)
        ;
    EAPP_RETURN(42);
}
