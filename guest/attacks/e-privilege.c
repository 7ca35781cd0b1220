/* attack: an enclave uses registers and instructions of the kernel and of the monitor, and makes calls that are only the
 *         kernel's, or that do not exist
 * stopped by: privilege, monitor check
 */
#include "board.h"

#define TRY(number, instruction)                                                                                       \
    case number: __asm__ volatile(instruction : : : "t0", "memory"); break

static void calls(unsigned long function, unsigned long number)
{
    register unsigned long a0 __asm__("a0") = board->other_eid;
    register unsigned long a6 __asm__("a6") = function;
    register unsigned long a7 __asm__("a7") = number;

    expect(CAUSE_UNKNOWN_CALL, ANY_ADDRESS);
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a6), "r"(a7) : "memory");
}

int EAPP_ENTRY main()
{
    rounds(20);
    expect(CAUSE_ILLEGAL, ANY_ADDRESS);
    switch (board->round) {
        TRY(1, "csrr t0, satp");
        TRY(2, "csrw satp, zero");
        TRY(3, "csrr t0, sstatus");
        TRY(4, "csrw sstatus, zero");
        TRY(5, "csrw stvec, zero");
        TRY(6, "csrr t0, sscratch");
        TRY(7, "csrr t0, mstatus");
        TRY(8, "csrw mtvec, zero");
        TRY(9, "csrw pmpcfg0, zero");
        TRY(10, "csrw pmpaddr1, zero");
        TRY(11, "csrw cycle, zero");
        TRY(12, "csrw mcounteren, zero");
        TRY(13, "sfence.vma");
        TRY(14, "sret");
        TRY(15, "mret");
    case 16: calls(94, 0x100100); break; /* destroy, as the kernel would call */
    case 17: calls(101, 0x100100); break;
    case 18: calls(ENCLAVE_CALL, 12345); break;
    case 19: calls(ENCLAVE_CALL + 1, CALL_EXIT); break;
    case 20: calls(0, 93); break; /* a system call of Linux */
    }
    EAPP_RETURN(1);
}
