# The enclave that forge.c makes: it does what its memory shared with the kernel says, and yields.
#
# At first it stores its registers there, x1 to x31 at 64 and f0 to f31 at 320, but for s0. Whenever the kernel gets
# the hart, all registers that are not arguments hold a secret.

    .option norvc
    .option arch, +d
    .section .rodata.puppet, "a"
    .globl puppet_code, puppet_code_end
    .balign 4
puppet_code:
    li s0, 0x3900000000     # struct command
    .irp n, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    sd x\n, (56 + 8 * \n)(s0)
    .endr
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    fsd f\n, (320 + 8 * \n)(s0)
    .endr
    li s1, 0x5ec2e75ec2e75ec2
    .irp n, 1, 3, 4, 5, 6, 7, 13, 14, 15, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    mv x\n, s1
    .endr
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    fmv.d.x f\n, s1
    .endr
1:  ld a0, 0(s0)
    ld a1, 8(s0)
    ld a2, 16(s0)
    ld a3, 24(s0)
    ld a7, 32(s0)
    li a6, 0x100101
    beqz a7, 2f
    addi t0, a7, -1
    beqz t0, 3f
    mv t0, s1
    ecall
    j 4f
2:  ld a0, 0(a0)
    j 4f
3:  sd a1, 0(a0)
4:  sd a0, 40(s0)
    mv t0, s1
    li a7, 89
    ecall
    j 1b
puppet_code_end:
