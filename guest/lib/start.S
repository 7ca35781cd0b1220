/* Where an enclave begins, and where a server begins on every call.
 *
 *     sp at entry -> +----------------+ 0x38_0000_0000
 *                    | x31 at entry   |
 *                    | ...            |  32 slots of 8 bytes: what EAPP_RESERVE_REG points to
 *                    | x0 (zero)      |
 *     sp in main  -> +----------------+
 *                    | stack          |
 *
 * eapp.h says why this is not done in the entry function itself.
 */
    .section .text._start, "ax", @progbits
    .globl _start
    .type _start, @function
_start:
    addi sp, sp, -256
    sd x0, 0(sp)
    sd x1, 8(sp)
    .irp n, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    sd x\n, \n * 8(sp)
    .endr
    addi t0, sp, 256
    sd t0, 16(sp)       /* x2: sp as it was */
    li s0, 0            /* a walk up the frames ends here */
    call __eapp_entry   /* the linker script puts this symbol on the function marked EAPP_ENTRY */
    call eapp_return    /* it returned: its value is in a0 */
    .size _start, . - _start
