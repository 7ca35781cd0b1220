/* Passes a text from one enclave to the next through memory that the host cannot read.
 *
 * Run it twice. The first makes the memory and leaves a text in it; the second finds it by its key, prints the text,
 * and destroys it. The memory outlives the first enclave, and is given back to the host when the second detaches.
 */
#include <string.h>

#include "eapp.h"
#include "print.h"

#define KEY 0x20240001UL
#define SIZE (2 * PAGE_SIZE)

int EAPP_ENTRY main()
{
    struct shm_stat_t stat;
    char *memory = eapp_shm_attach(KEY);

    if (!memory) {
        memory = eapp_shm_get(KEY, SIZE, 0);
        if (!memory) {
            eapp_print("[shm] no memory\n");
            EAPP_RETURN(1);
        }
        strcpy(memory, "a secret between enclaves");
        eapp_print("[shm] made it\n");
        EAPP_RETURN(0);
    }

    if (eapp_shm_stat(KEY, &stat)) {
        eapp_print("[shm] no such memory\n");
        EAPP_RETURN(1);
    }
    eapp_print("[shm] %lu bytes, used by %lu: %s\n", stat.size, stat.refcount, memory);
    EAPP_RETURN(eapp_shm_destroy(KEY) || eapp_shm_detach(KEY));
}
