/* All registers at entry, as an array on the stack; then the program. */
    .section .text._start, "ax", @progbits
    .globl _start
_start:
    addi sp, sp, -256
    .irp n, 0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    sd x\n, \n * 8(sp)
    .endr
    addi t0, sp, 256
    sd t0, 16(sp)
    mv a0, sp
    call program
    unimp               /* programs leave by a call */
