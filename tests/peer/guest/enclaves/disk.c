/* Sectors through the shared memory that is named for persistency: counts its runs in one of them.
 *
 * Shared memory: a page or more. Exits with the number of runs so far. 0xd15c: a sector ocall was refused.
 */
#include "bare.h"

#define OWN 5
#define LAST (4 * 256 - 1)  /* of the 4 MiB that the file has when it is made */
#define BEYOND (4 * 256 + 7)

void program(const u64 *x)
{
    volatile char *shared = (volatile char *)x[10];
    volatile u64 *word = (volatile u64 *)shared;

    HOLDS(x[11] >= PAGE);
    fill(shared, 9, PAGE);
    if (ocall(READ_SECTOR, OWN, 0, 0) == FAILED)
        leave(0xd15c);
    HOLDS(filled(shared + 8, 0, PAGE - 8));
    u64 runs = ++*word;
    MUST(ocall(WRITE_SECTOR, OWN, 0, 0), 0);
    if (runs == 1) {
        fill(shared, 9, PAGE);
        MUST(ocall(READ_SECTOR, LAST, 0, 0), 0);
        HOLDS(filled(shared, 0, PAGE));
        fill(shared, 9, PAGE);
        MUST(ocall(READ_SECTOR, BEYOND, 0, 0), 0);
        HOLDS(filled(shared, 0, PAGE));
        fill(shared, 3, PAGE);
        MUST(ocall(WRITE_SECTOR, BEYOND, 0, 0), 0);
    }
    fill(shared, 9, PAGE);
    MUST(ocall(READ_SECTOR, BEYOND, 0, 0), 0);
    HOLDS(filled(shared, 3, PAGE));
    MUST(ocall(READ_SECTOR, BEYOND - 1, 0, 0), 0);
    HOLDS(filled(shared, 0, PAGE));
    MUST(ocall(READ_SECTOR, OWN, 0, 0), 0);
    MUST(*word, runs);
    leave(runs);
}
