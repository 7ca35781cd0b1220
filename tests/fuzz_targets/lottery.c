/* Draws tickets: how many, and which, the host's random numbers say.
 *
 * There is a page for the tickets, and when that is full larger memory, into which they are moved.
 *
 * Bug: the memory for the second time is used without a look at whether the host gave it (Iago).
 *
 * fuzz: --as enclave --channel ocalls
 * finds: fault
 */
#include <string.h>

#include "eapp.h"
#include "print.h"

#define FIRST_SIZE PAGE_SIZE
#define MOST_TICKETS 1024

static __attribute__((noinline)) unsigned long *moved(unsigned long *tickets)
{
    unsigned long *larger = eapp_mmap(NULL, MOST_TICKETS * sizeof *larger);

#ifdef FIXED
    if (!larger)
        return NULL;
#endif
    memcpy(larger, tickets, FIRST_SIZE);
    eapp_munmap(tickets, FIRST_SIZE);
    return larger;
}

int EAPP_ENTRY main()
{
    unsigned long random, room = FIRST_SIZE / sizeof random, winner = 0;

    if (eapp_get_random(&random, sizeof random) != sizeof random)
        EAPP_RETURN(1);

    unsigned long *tickets = eapp_mmap(NULL, FIRST_SIZE);
    unsigned long count = random % MOST_TICKETS + 1;

    if (!tickets)
        EAPP_RETURN(2);
    for (unsigned long i = 0; i < count; i++) {
        if (i == room) {
            tickets = moved(tickets);
            if (!tickets)
                EAPP_RETURN(3);
            room = MOST_TICKETS;
        }
        random = random * 6364136223846793005 + 1442695040888963407;
        tickets[i] = random >> 33;
    }
    for (unsigned long i = 0; i < count; i++)
        if (tickets[i] > tickets[winner])
            winner = i;
    eapp_print("[lottery] %lu tickets, number %lu wins\n", count, winner);
    EAPP_RETURN(0);
}
