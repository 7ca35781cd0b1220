/* Adds to a number in memory that enclaves share, in two steps. */
#include "eapp.h"

int EAPP_ENTRY main()
{
    volatile unsigned long *shared = eapp_shm_get(78, PAGE_SIZE, 0);

    for (int i = 0; i < 300; i++)
        shared[0] = shared[0] + 1;
    EAPP_RETURN(shared[0]);
}
