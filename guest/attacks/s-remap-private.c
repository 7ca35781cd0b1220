/* attack: the kernel maps private memory anew with every kind of set PTE and with many permissions, gives hidden entries
 *         their V back, and puts a private page among good ones
 * stopped by: monitor check
 */
#include "forge.h"

static struct sv_info *info;

static void every_kind(uint64_t slot, uint64_t pte)
{
    uint64_t *source = at(info->free);

    by_check(sv_call(CALL_SET_PTE, SET_ONE, slot, pte, 0, 0));
    source[0] = pte_of(info->free, PTE_R);
    source[1] = pte;
    by_check(sv_call(CALL_SET_PTE, SET_COPY, slot, info->free, 16, 0));
    by_check(sv_call(CALL_SET_PTE, SET_COPY, slot, info->free + 8, 8, 0));
    source[0] = slot + 8, source[1] = pte_of(info->free, PTE_R);
    source[2] = slot, source[3] = pte;
    by_check(sv_call(CALL_SET_PTE, SET_BATCH_SET, 0, info->free, 2, 0));
    by_check(sv_call(CALL_SET_PTE, SET_BATCH_SET, 0, info->free + 16, 1, 0));
}

static uint64_t slot_of(uint64_t physical) /* of the kernel's own mapping of all RAM */
{
    uint64_t middle = at(info->root)[physical >> 30 & 511] >> 10 << 12;
    uint64_t leaf = at(middle)[physical >> 21 & 511] >> 10 << 12;

    return leaf + (physical >> 12 & 511) * 8;
}

int EAPP_ENTRY main()
{
    static const uint64_t flags[] = {PTE_R, PTE_R | PTE_W, PTE_R | PTE_X, PTE_X, PTE_R | PTE_W | PTE_X,
                                     PTE_R | PTE_W | PTE_U, PTE_W, PTE_W | PTE_X, 32 | PTE_R};

    info = sv_start();
    for (int i = ENCLAVE; i < PRIVATE_VICTIMS; i++)
        for (size_t f = 0; f < sizeof flags / sizeof *flags; f++)
            every_kind(info->free_leaf[0] + 64, pte_of(info->victim[i].block, flags[f]));
    for (int i = ENCLAVE; i < PRIVATE_VICTIMS; i++) {
        uint64_t slot = slot_of(info->victim[i].block), hidden = *at(slot);

        sv_works(hidden && !(hidden & PTE_V));
        every_kind(slot, hidden | PTE_V);
        by_check(sv_call(CALL_SET_PTE, SET_ONE, slot, hidden, 0, 0)); /* it would come back some day */
        sv_works(*at(slot) == hidden);
    }
    for (int i = 0; i < 512; i++)
        sv_works(at(info->free_leaf[0])[i] == 0);
    sv_works(sv_call(CALL_SET_PTE, SET_ONE, info->free_leaf[0], pte_of(info->free, PTE_R), 0, 0).error == 0);
    sv_exit(0);
}
