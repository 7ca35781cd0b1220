/* attack: the kernel goes on using translations from before: of its page that became the monitor's, an enclave's block,
 *         relay page or memory, and of its own mapping that it took away
 * stopped by: page table
 */
#include "forge.h"

static void held(uint64_t page) /* the TLB has it */
{
    uint64_t value;

    sv_works(sv_load(page, &value) == 0);
    sv_works(sv_store(page, value) == 0);
}

static void gone(uint64_t page)
{
    uint64_t value;

    by_page_table(sv_load(page, &value));
    by_page_table(sv_store(page, 1));
}

int EAPP_ENTRY main()
{
    struct sv_info *info = sv_start();
    uint64_t page, window = 5UL << 30;
    struct puppet puppet;

    for (int round = 0; round < 2; round++) { /* the second with code that is translated, which may flush */
        page = sv_take(1);
        held(page);
        sv_works(sv_call(CALL_EXTEND, page, 4096, 0, 0, 0).error == 0);
        gone(page);
    }

    forge(&puppet, "puppet", NORMAL);
    held(puppet.block + 6 * 4096);
    sv_works(forge_create(&puppet).error == 0);
    gone(puppet.block + 6 * 4096);

    puppet.run_params[0] = page = sv_take(1);
    puppet.run_params[1] = 4096;
    held(page);
    sv_works(puppet_go(&puppet, PUPPET_LOAD, 0x3800000000, 0, 0, 0).value == STATUS_YIELD);
    gone(page);

    sv_works(puppet_go(&puppet, 98, 1, 0, 4096, 0).value == STATUS_OCALL); /* mmap */
    page = sv_take(2);
    held(page + 4096);
    sv_works(puppet_answer(&puppet, 1, page, 2 * 4096).value == STATUS_YIELD);
    gone(page + 4096);
    sv_works(sv_call(CALL_DESTROY, puppet.eid, 0, 0, 0, 0).error == 0);
    held(page + 4096); /* its own again */

    uint64_t tables[] = {info->root + 5 * 8, info->free_middle[0], info->free_leaf[0]};
    uint64_t entries[] = {info->free_middle[0] >> 12 << 10 | PTE_V, info->free_leaf[0] >> 12 << 10 | PTE_V,
                          pte_of(page, PTE_R | PTE_W)};

    for (int last = 0; last < 3; last++) {
        for (int i = 0; i < 3; i++)
            sv_works(sv_call(CALL_SET_PTE, SET_ONE, tables[i], entries[i], 0, 0).error == 0);
        held(window);
        sv_works(sv_call(CALL_SET_PTE, SET_ZERO, tables[last], 0, 0, 0).error == 0);
        gone(window);
    }
    sv_exit(0);
}
