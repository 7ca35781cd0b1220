/* attack: the kernel reads, writes and executes the monitor, the page bitmap and the PT area, at their own addresses
 * stopped by: PMP, page table
 * It may read the PT area, which holds nothing but its own page tables; the monitor lets it map that read only.
 */
#include "supervisor.h"

static void everywhere(uint64_t start, uint64_t size, int readable)
{
    uint64_t value = 0;

    for (uint64_t at = start; at < start + size; at += size / 2 - 8) {
        if (readable) {
            by_page_table(sv_store(at, 1));
            sv_works(sv_load(at, &value) == 0);
            by_page_table(sv_store(at, 1)); /* the translation is in the TLB now */
            by_page_table(sv_fetch(at & ~7UL));
        } else {
            by_pmp(sv_load(at, &value));
            by_pmp(sv_store(at, 1));
        }
    }
}

int EAPP_ENTRY main()
{
    struct sv_info *info = sv_start();

    everywhere(info->monitor, info->monitor_size, 0);
    everywhere(info->bitmap, info->bitmap_size, 0);
    everywhere(info->pt_area + 2048, info->pt_size - 2048, 1); /* not the entry of this program */
    by_page_table(sv_store(info->root, 0));
    sv_exit(0);
}
