/* attack: the kernel maps its page tables, the bitmap and pages of its own with little permission and every pattern of the
 *         bits that software may use in an entry, by every kind of set PTE, and tries what the entry does not allow
 * stopped by: PMP, page table
 */
#include "forge.h"

static struct sv_info *info;

static void set(uint64_t kind, uint64_t slot, uint64_t pte)
{
    sv_works(sv_set(kind, info->free, slot, pte).error == 0);
}

int EAPP_ENTRY main()
{
    static const uint64_t kinds[] = {SET_ONE, SET_COPY, SET_BATCH_SET}, flags[] = {PTE_R, PTE_R | PTE_X};
    uint64_t window = 5UL << 30, value = 0, before;

    info = sv_start();
    set(SET_ONE, info->root + 5 * 8, info->free_middle[0] >> 12 << 10 | PTE_V);
    set(SET_ONE, info->free_middle[0], info->free_leaf[0] >> 12 << 10 | PTE_V);
    for (int k = 0; k < 3; k++)
        for (uint64_t bits = 0x100; bits <= 0x300; bits += 0x100)
            for (int f = 0; f < 2; f++) {
                uint64_t places[] = {info->free_leaf[0], info->free_middle[0], info->root, info->free + 4096};

                for (int p = 0; p < 4; p++)
                    set(kinds[k], info->free_leaf[0] + 8 * p, pte_of(places[p], flags[f] | bits));
                set(kinds[k], info->free_leaf[0] + 32, pte_of(info->bitmap, PTE_R | PTE_W | PTE_X | bits));
                sv_fence();
                for (int p = 0; p < 4; p++) {
                    uint64_t page = window + p * 4096, entry = at(info->free_leaf[0])[p];

                    for (int again = 0; again < 5; again++) {
                        sv_works(sv_load(page, &value) == 0);
                        by_page_table(sv_store(page + 2048, 0x4242));
                        if (!(flags[f] & PTE_X))
                            by_page_table(sv_fetch(page + 2048));
                    }
                    sv_stopped('T', at(info->free_leaf[0])[p] == entry);
                }
                before = window + 4 * 4096;
                by_pmp(sv_store(before, 0));
                by_pmp(sv_load(before, &value));
            }
    sv_exit(0);
}
