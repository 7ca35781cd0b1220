/* attack: the kernel runs, in user mode, the code of an enclave that is gone, from pages that were cleared; then it makes
 *         another enclave there whose first page is empty; and maps its own code, replaced by the monitor, once more
 * stopped by: monitor check
 */
#include "forge.h"

enum { PAGE = 4096, ROOT = PAGE, LEAVES = 4 * PAGE, CODE = 5 * PAGE, MORE = 7 * PAGE };
#define ENTRY (21UL << 30) /* where the kernel has nothing, so that it can map the code at the same address */

static struct sv_info *info;

static void map(uint64_t va, uint64_t page, uint64_t flags)
{
    uint64_t leaf = info->free_leaf[0], middle = info->free_middle[0];

    sv_works(sv_call(CALL_SET_PTE, SET_ONE, info->root + (va >> 30) * 8, middle >> 12 << 10 | PTE_V, 0, 0).error == 0);
    sv_works(sv_call(CALL_SET_PTE, SET_ONE, middle, leaf >> 12 << 10 | PTE_V, 0, 0).error == 0);
    sv_works(sv_call(CALL_SET_PTE, SET_ONE, leaf, pte_of(page, flags), 0, 0).error == 0);
    sv_fence();
}

/* A puppet whose code is at ENTRY, of the pages at `block`. */
static void forge_there(struct puppet *puppet, uint64_t block, const char *name)
{
    forge_in(puppet, block, name, NORMAL);
    at(block + LEAVES)[1] = 0;
    at(block + ROOT)[ENTRY >> 30] = (block + MORE) >> 12 << 10 | PTE_V;
    for (uint64_t word = 0; word < 2 * PAGE / 8; word++)
        at(block + MORE)[word] = 0;
    at(block + MORE)[0] = (block + MORE + PAGE) >> 12 << 10 | PTE_V;
    at(block + MORE + PAGE)[0] = pte_of(block + CODE, PTE_R | PTE_X | PTE_U);
    puppet->params->free_mem = block + MORE + 2 * PAGE;
    puppet->params->entry = ENTRY;
}

int EAPP_ENTRY main()
{
    struct puppet first, second;
    uint64_t block = sv_take(PUPPET_PAGES), code = block + CODE, window = 5UL << 30, *words;
    struct sv_result end;

    info = sv_start();
    forge_there(&first, block, "first");
    sv_works(forge_create(&first).error == 0);
    sv_works(puppet_go(&first, 90, 0, 0, 0, 0).value == STATUS_YIELD); /* its code has run */
    sv_works(sv_call(CALL_DESTROY, first.eid, 0, 0, 0, 0).error == 0);
    sv_works(*at(code) == 0);
    map(ENTRY, code, PTE_R | PTE_X | PTE_U);
    end = sv_user(ENTRY, 0, 0, 0, 0);
    sv_stopped('M', end.error == CAUSE_ILLEGAL && end.value == (long)ENTRY);
    map(ENTRY, code, PTE_R | PTE_W | PTE_X);
    sv_stopped('M', sv_fetch(ENTRY) == CAUSE_ILLEGAL);

    /* The same pages, another enclave, without that code: it ends at once. */
    forge_there(&second, block, "second");
    for (uint64_t word = 0; word < PAGE / 8; word++)
        at(code)[word] = 0;
    sv_works(forge_create(&second).error == 0);
    second.command->result = 0;
    end = puppet_go(&second, 90, 0, 0, 0, 0);
    sv_stopped('M', end.error == -1 && second.command->result == 0);

    /* Code of the kernel's user mode that the monitor writes over: by a report whose nonce is an instruction. */
    words = at(info->free);
    for (int i = 0; i < PAGE / 8; i++)
        words[i] = 0x0000007300000073; /* ecall, ecall */
    map(window, info->free, PTE_R | PTE_X | PTE_U);
    for (uint64_t offset = 0; offset + 328 <= PAGE; offset += 512) {
        end = sv_user(window + offset + 256, 0, 0, 0, 0);
        sv_works(end.error == CAUSE_ECALL_U);
        sv_works(sv_call(CALL_ATTEST, info->victim[ENCLAVE].eid, info->free + offset, 0x0010007300100073, 0, 0).error == 0);
        sv_works(words[(offset + 256) / 8] == 0x0010007300100073); /* ebreak, ebreak */
        end = sv_user(window + offset + 256, 0, 0, 0, 0);
        sv_stopped('M', end.error == 3);
    }
    sv_exit(0);
}
