/* What chains touch that others may touch too: what Python gives to the hooks of accesses.c, and looks at.
 *
 * Pages are told apart first, in a run that is not logged: which chains have touched them, and whether anybody
 * has written there. Then the same run is logged: what is touched on pages that several chains touch and one
 * writes, calls, and who has the hart. `full` empties the rows.
 */

#ifndef PLTVM_ACCESSES_H
#define PLTVM_ACCESSES_H

#include "engine/native/position.h"

enum access {
    ACCESS_WRITE = 1,
    ACCESS_ATOMIC = 2,              /* lr, sc, amo */
    ACCESS_ACQUIRE = 4,             /* a load with a fence behind it */
    ACCESS_RELEASE = 8,             /* a store with a fence before it */
    ACCESS_ENTER = 16,              /* no access: another enclave of the chain, or another chain, has the hart */
    ACCESS_CALL = 32,               /* no access: an ecall comes next */
    ACCESS_EXCLUSIVE = 64           /* of ENTER: it is a server that has one call at a time */
};

struct access_row {
    uint64_t position, pa, pc;      /* position: before the instruction */
    uint64_t running;               /* struct enclave, of a slot that of its server; 0: the host */
    uint32_t kind, size;
    uint32_t owner, filler;         /* owner: of the page, as the page bitmap has it */
};

struct accesses {
    struct hart *hart;
    struct counter *counter;
    uint8_t *ignored, *written;     /* a byte for each page of RAM */
    uint64_t *seen;                 /* a bit for each chain, modulo 64, for each page */
    struct access_row *rows;
    uint64_t used, most;
    void (*full)(void);
    uint64_t chain;                 /* that has the hart */
    uint64_t running;               /* struct enclave that had the hart last */
    uint64_t on, logging;
    uint64_t of_hosts;              /* programs of the host are looked at too */
};

#endif
