/* Counts its runs in a sector of the host's disk file.
 *
 * Sectors come and go through the memory named for persistency, here the memory that the host shares with this
 * enclave. The host can read and change all of it: seal what matters with a key from eapp_derive_key.
 */
#include "eapp.h"
#include "print.h"

#define SECTOR 3

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    volatile unsigned long *runs = (volatile unsigned long *)args[10];

    if (!runs || args[11] < PAGE_SIZE) {
        eapp_print("[sectors] no shared memory\n");
        EAPP_RETURN(1);
    }
    if (eapp_read_sector(SECTOR)) {
        eapp_print("[sectors] no disk\n");
        EAPP_RETURN(1);
    }
    *runs += 1;
    if (eapp_write_sector(SECTOR)) {
        eapp_print("[sectors] the sector could not be written\n");
        EAPP_RETURN(1);
    }
    eapp_print("[sectors] run %lu\n", *runs);
    EAPP_RETURN(0);
}
