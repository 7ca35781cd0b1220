/* attack: user mode of the kernel makes monitor calls and executes what only the kernel or the monitor may
 * stopped by: privilege
 */
#include "forge.h"

/* Two instructions an attempt; the first three words of a call are `li a7, 0x100100` and `mv a6, a0`. */
extern const char user_call[], user_call_end[], user_rest[], user_rest_end[];
__asm__(
    ".section .rodata.user, \"a\"\n"
    ".option push\n .option norvc\n"
    ".balign 4\n"
    "user_call: li a7, 0x100100\n mv a6, a0\n mv a0, a1\n mv a1, a2\n mv a2, a3\n mv a3, zero\n ecall\n"
    "user_call_end:\n"
    "user_rest: csrw satp, a1\n csrr a0, satp\n sfence.vma\n csrr a0, sstatus\n csrw sepc, a1\n csrw stvec, a1\n"
    "csrr a0, sscratch\n csrr a0, mstatus\n csrw 0x3b0, a1\n sret\n .word 0x30200073 # mret\n"
    "user_rest_end:\n"
    ".option pop\n");

enum { PAGE = 4096 };

int EAPP_ENTRY main()
{
    static const uint64_t calls[] = {CALL_INIT, CALL_CREATE, CALL_ATTEST, CALL_RUN, CALL_STOP, CALL_RESUME, CALL_DESTROY,
                                     CALL_EXTEND, CALL_CREATE_SERVER, CALL_DESTROY_SERVER, CALL_RUN_SHADOW,
                                     CALL_CREATE_SHADOW, CALL_RELAY_INIT, CALL_SEPARATE, CALL_SPLIT_HUGE,
                                     CALL_ATTEST_SHADOW, CALL_DESTROY_SHADOW, CALL_RECLAIM, CALL_SET_PTE, 0};
    struct sv_info *info = sv_start();
    uint64_t window = 5UL << 30, slot = info->free_leaf[0] + 8, code = info->free;
    uint64_t wanted = pte_of(info->free + 2 * PAGE, PTE_R | PTE_W | PTE_U), eid = info->victim[ENCLAVE].eid;
    long length = user_call_end - user_call, rest = user_rest_end - user_rest;
    struct puppet puppet;

    for (long i = 0; i < length; i++)
        ((char *)code)[i] = user_call[i];
    for (long i = 0; i < rest; i++)
        ((char *)code)[length + i] = user_rest[i];
    sv_works(sv_call(CALL_SET_PTE, SET_ONE, info->root + 5 * 8, info->free_middle[0] >> 12 << 10 | PTE_V, 0, 0).error == 0);
    sv_works(sv_call(CALL_SET_PTE, SET_ONE, info->free_middle[0], info->free_leaf[0] >> 12 << 10 | PTE_V, 0, 0).error == 0);
    sv_works(sv_call(CALL_SET_PTE, SET_ONE, info->free_leaf[0], pte_of(code, PTE_R | PTE_X | PTE_U), 0, 0).error == 0);
    sv_fence();

    for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
        uint64_t first = calls[i] == CALL_SET_PTE ? SET_ONE : calls[i] == CALL_EXTEND ? info->free + 4 * PAGE : eid;
        struct sv_result end = sv_user(window, calls[i], first, slot, wanted);

        sv_stopped('I', end.error == CAUSE_ECALL_U && end.value == (long)window + length - 4);
        sv_stopped('I', *(uint64_t *)slot == 0);
    }
    for (long at = length; at < length + rest; at += 4) {
        struct sv_result end = sv_user(window + at, 0, info->root >> 12 | 8UL << 60, 0, 0);

        sv_stopped('I', end.error == CAUSE_ILLEGAL && end.value == (long)window + at);
    }
    /* The kernel itself may, before and after. */
    sv_works(sv_call(CALL_SET_PTE, SET_ONE, slot, wanted, 0, 0).error == 0 && *(uint64_t *)slot == wanted);
    forge(&puppet, "puppet", NORMAL);
    sv_works(forge_create(&puppet).error == 0);
    sv_exit(0);
}
