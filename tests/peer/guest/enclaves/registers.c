/* All registers stay over a call but a0, and over an ocall and a yield; the host's are not ours to see or to spoil. */
#include "bare.h"

/* Gives how many of s0...s11 and, with the D extension, f0...f31 changed. */
static u64 changed(u64 function, u64 number)
{
    u64 wrong;

    __asm__ volatile(
        "mv a0, %1\n\t mv a7, %2\n\t li a6, 0x100101\n\t"
        "li s1, 101\n\t li s2, 102\n\t li s3, 103\n\t li s4, 104\n\t li t0, 105\n\t li t6, 106\n\t li gp, 107\n\t"
        "li a1, 0\n\t li a2, 0\n\t li a3, 0\n\t li ra, 108\n\t"
#ifdef __riscv_d
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27,"
        "28, 29, 30, 31\n\t"
        "li a5, 0x1000 + \\n\n\t fmv.d.x f\\n, a5\n\t .endr\n\t"
#endif
        "ecall\n\t"
        "li %0, 0\n\t"
        ".macro same reg, value\n\t li a5, \\value\n\t beq \\reg, a5, 1f\n\t addi %0, %0, 1\n\t 1:\n\t .endm\n\t"
        "same s1, 101\n\t same s2, 102\n\t same s3, 103\n\t same s4, 104\n\t same t0, 105\n\t same t6, 106\n\t"
        "same gp, 107\n\t same ra, 108\n\t same a6, 0x100101\n\t"
#ifdef __riscv_d
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27,"
        "28, 29, 30, 31\n\t"
        "fmv.x.d a4, f\\n\n\t same a4, 0x1000 + \\n\n\t .endr\n\t"
#endif
        ".purgem same\n\t"
        : "=&r"(wrong)
        : "r"(number), "r"(function)
        : "memory", "ra", "gp", "t0", "t6", "s1", "s2", "s3", "s4", "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7"
#ifdef __riscv_d
          ,
          "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "fs0", "fs1", "fa0", "fa1", "fa2", "fa3", "fa4",
          "fa5", "fa6", "fa7", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8", "ft9",
          "ft10", "ft11"
#endif
    );
    return wrong;
}

void program(const u64 *x)
{
    (void)x;
    KBUFFER[0] = '\0';
    MUST(changed(ENCLAVE_ID, 0), 0);
    MUST(changed(YIELD, 0), 0);
    MUST(changed(OCALL, SBRK), 0);
    MUST(changed(OCALL, WRITE), 0);
    MUST(call(CALLER_ID, 0, 0, 0), FAILED);
    leave(0x600d);
}
