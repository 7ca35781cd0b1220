/* attack: an enclave takes memory shared between others with a size, a flag or a key that does not fit, destroys or
 *         detaches what it has no part in, and looks for what was in such memory before
 * stopped by: monitor check
 * Keys are no secret: who knows one may attach.
 */
#include "board.h"

#define SHM_EXCLUSIVE 02000
#define SECRET 0x5ec2e75ec2e75ec2UL

int EAPP_ENTRY main()
{
    unsigned long stat[2] = {7, 7};
    uint64_t *memory;

    rounds(1);
    by_check(eapp_shm_destroy(1) == -1); /* key 1 is the victim's */
    by_check(eapp_shm_detach(1) == -1);
    by_check(eapp_shm_get(1, 2 * PAGE_SIZE, 0) == NULL);
    by_check(eapp_shm_get(1, PAGE_SIZE, SHM_EXCLUSIVE) == NULL);
    by_check(eapp_shm_get(5, 0, 0) == NULL);
    by_check(eapp_shm_get(5, PAGE_SIZE + 1, 0) == NULL);
    by_check(eapp_shm_get(5, -PAGE_SIZE, 0) == NULL);
    by_check(eapp_shm_get(5, 1UL << 40, 0) == NULL);
    by_check(eapp_shm_attach(5) == NULL);
    by_check(eapp_shm_stat(5, (struct shm_stat_t *)stat) == -1 && stat[0] == 7 && stat[1] == 7);
    for (int i = 0; i < 2; i++) {
        memory = eapp_shm_get(6, PAGE_SIZE, 0);
        works(memory != NULL);
        by_check(memory[10] == 0);
        memory[10] = SECRET;
        by_check(eapp_munmap(memory, PAGE_SIZE) == -1); /* that is another call's */
        works(eapp_shm_detach(6) == 0 && eapp_shm_destroy(6) == 0);
        by_check(eapp_shm_attach(6) == NULL);
    }
    for (int i = 0; i < 2; i++) { /* its own memory, too */
        memory = eapp_mmap(NULL, PAGE_SIZE);
        by_check(memory && memory[10] == 0);
        memory[10] = SECRET;
        works(eapp_munmap(memory, PAGE_SIZE) == 0);
    }
    finish();
}
