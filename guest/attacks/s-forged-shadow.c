/* attack: the kernel makes an instance of a shadow enclave with every field of the parameters wrong, with relay pages that
 *         are something else of the instance, with too little memory
 * stopped by: monitor check
 */
#include "forge.h"

#define PAGE 4096UL

int EAPP_ENTRY main()
{
    struct sv_info *info = sv_start();
    uint64_t not_ours[NOT_OURS + 1];
    struct victim *template = &info->victim[TEMPLATE];
    uint64_t page = sv_take(1), block = sv_take(64), kbuffer = sv_take(1), shm = sv_take(1), out = page + 1024;
    struct run_shadow_params *p = (void *)page, right = {
        .free_page = block, .size = 64 * PAGE, .eid_pointer = out + 40, .kbuffer = kbuffer, .kbuffer_size = PAGE,
        .shm_paddr = shm, .shm_size = PAGE, .ocall = out, .arg0 = out + 8, .arg1 = out + 16, .syscall = out + 24,
        .retval = out + 32,
    };
    static const size_t fields[] = {1, 3, 4, 6, 10, 11, 12, 13, 14}; /* all that are addresses */

    sv_not_ours(not_ours);
    for (size_t f = 0; f < sizeof fields / sizeof *fields; f++)
        for (int i = 0; not_ours[i]; i++) {
            *p = right;
            ((uint64_t *)p)[fields[f]] = not_ours[i];
            by_check(sv_call(CALL_RUN_SHADOW, template->eid, page, 0, 0, 0));
        }
    for (int i = 0; not_ours[i]; i++) {
        *p = right;
        p->relay_paddr = not_ours[i], p->relay_size = PAGE;
        by_check(sv_call(CALL_RUN_SHADOW, template->eid, page, 0, 0, 0));
    }
    uint64_t overlapping[] = {block, block + 63 * PAGE, kbuffer, shm, page};

    for (int i = 0; i < 5; i++) { /* relay pages that are something else of the instance */
        *p = right;
        p->relay_paddr = overlapping[i], p->relay_size = PAGE;
        by_check(sv_call(CALL_RUN_SHADOW, template->eid, page, 0, 0, 0));
    }
    for (uint64_t size = 0; size < 64 * PAGE; size += 7 * PAGE / 2) {
        *p = right;
        p->size = size; /* no power of two */
        by_check(sv_call(CALL_RUN_SHADOW, template->eid, page, 0, 0, 0));
    }
    for (uint64_t size = 4 * PAGE; size <= 16 * PAGE; size *= 2) { /* what lies behind must stay */
        *p = right;
        p->size = size;
        at(block + size)[0] = size;
        by_check(sv_call(CALL_RUN_SHADOW, template->eid, page, 0, 0, 0));
        sv_stopped('M', at(block + size)[0] == size);
    }

    struct sv_result result;

    *p = right; /* and this is right: it looks at its memory, and ends */
    result = sv_call(CALL_RUN_SHADOW, template->eid, page, 0, 0, 0);
    sv_works(result.error == 0 && result.value == 2);
    sv_exit(0);
}
