/* attack: the kernel maps the monitor, the page bitmap and the PT area at other addresses, by every kind of set PTE, and
 *         reads, writes and executes them there
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
    static const uint64_t kinds[] = {SET_ONE, SET_COPY, SET_BATCH_SET};
    uint64_t window = 5UL << 30, value = 0;

    info = sv_start();
    set(SET_ONE, info->root + 5 * 8, info->free_middle[0] >> 12 << 10 | PTE_V);
    set(SET_ONE, info->free_middle[0], info->free_leaf[0] >> 12 << 10 | PTE_V);
    for (int k = 0; k < 3; k++) {
        set(kinds[k], info->free_leaf[0], pte_of(info->monitor + 4096, PTE_R | PTE_W | PTE_X));
        set(kinds[k], info->free_leaf[0] + 8, pte_of(info->bitmap, PTE_R | PTE_W | PTE_X));
        set(kinds[k], info->free_leaf[0] + 16, pte_of(info->root, PTE_R | PTE_W | PTE_X));
        for (uint64_t page = window; page < window + 2 * 4096; page += 4096) {
            by_pmp(sv_load(page, &value));
            by_pmp(sv_store(page, 1));
            by_pmp(sv_fetch(page));
        }
        sv_works(sv_load(window + 2 * 4096, &value) == 0);
        by_page_table(sv_store(window + 2 * 4096, 0));
        by_page_table(sv_fetch(window + 2 * 4096));
    }
    sv_exit(0);
}
