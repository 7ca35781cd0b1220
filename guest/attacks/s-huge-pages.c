/* attack: the kernel maps huge pages of 2 MiB and 1 GiB, over victims, over the monitor, straddling from its own memory
 *         into private memory, misaligned; and sets bits of entries that are reserved
 * stopped by: monitor check
 */
#include "forge.h"

int EAPP_ENTRY main()
{
    struct sv_info *info = sv_start();
    uint64_t targets[] = {info->free, info->victim[ENCLAVE].block & -(2UL << 20), info->monitor, info->ram,
                          info->victim[ENCLAVE].block, info->free & -(1UL << 30), info->victim[MMAP].block, 0};
    uint64_t tables[] = {info->root + 8 * 8, info->free_root[0], info->free_middle[0], info->free_middle[1] + 4088};
    static const uint64_t flags[] = {PTE_R, PTE_R | PTE_W, PTE_X, PTE_R | PTE_W | PTE_X | PTE_U};

    for (int t = 0; t < 4; t++)
        for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
            for (int f = 0; f < 4; f++) {
                *at(info->free) = pte_of(targets[i], flags[f]);
                by_check(sv_call(CALL_SET_PTE, SET_ONE, tables[t], pte_of(targets[i], flags[f]), 0, 0));
                by_check(sv_call(CALL_SET_PTE, SET_COPY, tables[t], info->free, 8, 0));
            }
    for (int bit = 54; bit < 64; bit++)
        by_check(sv_call(CALL_SET_PTE, SET_ONE, info->free_leaf[0], 1UL << bit | pte_of(info->free, PTE_R), 0, 0));
    by_check(sv_call(CALL_SPLIT_HUGE, info->root, 0, 0, 0, 0)); /* there are none to split */
    sv_exit(0);
}
