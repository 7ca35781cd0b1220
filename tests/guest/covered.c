/* For tests of coverage: what runs how often is said in its lines. */
#include "eapp.h"

static volatile int sink;

__attribute__((noinline)) static void thrice(int n)
{
    sink += n; /* 3 */
}

__attribute__((noinline)) static void never(void)
{
    sink = 1; /* 0 */
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;

    for (volatile int i = 0; i < 3; i++)
        thrice(i); /* 3 */
    if (sink == 99)
        never(); /* 0 */
    sink++; /* 1 */
    EAPP_RETURN(sink); /* 1 */
}
