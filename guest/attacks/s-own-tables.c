/* attack: the kernel has page tables outside the PT area, or of the wrong level: tables in its own memory, in an enclave,
 *         in the monitor, a root below a root, entries that are set outside the PT area or not at their own place
 * stopped by: monitor check
 */
#include "forge.h"

int EAPP_ENTRY main()
{
    struct sv_info *info = sv_start();
    uint64_t elsewhere[NOT_OURS + 1], table = PTE_V;

    sv_not_ours(elsewhere);
    elsewhere[2] = info->free; /* instead of the end of the PT area */
    for (int i = 0; elsewhere[i]; i++) {
        uint64_t target = (elsewhere[i] >> 12 << 10 | table) & (1UL << 54) - 1;

        by_check(sv_call(CALL_SET_PTE, SET_ONE, info->free_root[0], target, 0, 0));
        by_check(sv_call(CALL_SET_PTE, SET_ONE, info->free_middle[0], target, 0, 0));
        by_check(sv_call(CALL_SET_PTE, SET_ONE, elsewhere[i], 0, 0, 0));
        by_check(sv_call(CALL_SET_PTE, SET_ZERO, elsewhere[i], 0, 0, 0));
        by_check(sv_call(CALL_SET_PTE, SET_ONE, elsewhere[i], pte_of(info->free, PTE_R), 0, 0));
        at(info->free)[0] = elsewhere[i], at(info->free)[1] = 0;
        by_check(sv_call(CALL_SET_PTE, SET_BATCH_ZERO, 0, info->free, 1, 0));
        by_check(sv_call(CALL_SET_PTE, SET_BATCH_SET, 0, info->free, 1, 0));
    }
    uint64_t levels[] = {info->free_root[0], info->free_middle[0], info->free_leaf[0]};

    for (int from = 0; from < 3; from++)
        for (int to = 0; to < 3; to++)
            if (to != from + 1)
                by_check(sv_call(CALL_SET_PTE, SET_ONE, levels[from], levels[to] >> 12 << 10 | table, 0, 0));
    by_check(sv_call(CALL_SET_PTE, SET_ONE, info->free_leaf[0] + 4, pte_of(info->free, PTE_R), 0, 0));
    by_check(sv_call(CALL_SET_PTE, SET_ONE, info->free_leaf[0], pte_of(info->free, PTE_R) & ~1UL, 0, 0)); /* no V */
    by_check(sv_call(CALL_SET_PTE, SET_COPY, info->pt_area + info->pt_size - 8, info->free, 16, 0)); /* past its end */
    by_check(sv_call(CALL_SEPARATE, 1, 1, 0, 0, 0));                                /* the parts anew */
    by_check(sv_call(CALL_INIT, info->free, 1 << 20, info->free + (1 << 20), 1 << 20, 0)); /* everything anew */
    by_check(sv_call(CALL_SET_PTE, 6, info->free_leaf[0], 0, 8, 0));
    sv_exit(0);
}
