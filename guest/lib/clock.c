/* time.h for the present time. An enclave has no clock that it can trust: clock() counts the machine's own
 * counter in microseconds, and time() knows no date. Calendars are musl's: see pltvm/build/library.py.
 */
#include <time.h>

#define COUNTS_PER_MICROSECOND 10

clock_t clock(void)
{
    unsigned long count;

    __asm__ volatile("rdtime %0" : "=r"(count));
    return (clock_t)(count / COUNTS_PER_MICROSECOND);
}

time_t time(time_t *where)
{
    if (where)
        *where = (time_t)-1;
    return (time_t)-1;
}
