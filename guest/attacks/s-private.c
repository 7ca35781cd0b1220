/* attack: the kernel reads, writes and executes private memory through mappings that it made before: of an enclave, its
 *         memory from mmap, its relay pages, memory shared between enclaves, a server, a shadow template
 * stopped by: page table
 * The kbuffer and the mailbox stay the kernel's: they are how it talks with the enclave.
 */
#include "supervisor.h"

int EAPP_ENTRY main()
{
    struct sv_info *info = sv_start();
    uint64_t value = 0;

    for (int i = ENCLAVE; i < PRIVATE_VICTIMS; i++) {
        struct victim *victim = &info->victim[i];

        for (uint64_t page = victim->block; page < victim->block + victim->size; page += 4096) {
            by_page_table(sv_load(page, &value));
            by_page_table(sv_store(page + 4088, 1));
        }
        by_page_table(sv_fetch(victim->block));
    }
    sv_works(sv_load(info->victim[KBUFFER].block, &value) == 0);
    sv_works(sv_load(info->victim[MAILBOX].block, &value) == 0);
    sv_exit(0);
}
