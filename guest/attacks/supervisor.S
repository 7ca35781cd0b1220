# Probes for S-mode programs: do one thing; if it traps, the vector gives the cause to the caller.
# The trap leaves ra and the stack as they were, so the vector returns like the function itself.

    .option norvc

.macro begin name
    .section .text.\name, "ax"
    .globl \name
    .type \name, @function
    .balign 4
\name:
    la t0, 9f
    csrw stvec, t0
.endm

.macro end name
    li a0, 0
    ret
    .balign 4
9:  csrr a0, scause
    ret
    .size \name, . - \name
.endm

begin sv_load
    ld t1, 0(a0)
    sd t1, 0(a1)
end sv_load

begin sv_store
    sd a1, 0(a0)
end sv_store

begin sv_fetch
    mv t2, ra
    jalr a0
    mv ra, t2
    li a0, 0
    ret
    .balign 4
9:  mv ra, t2
    csrr a0, scause
    ret
    .size sv_fetch, . - sv_fetch

begin sv_write_satp
    csrw satp, a0
end sv_write_satp

begin sv_fence
    sfence.vma
end sv_fence

    .section .text.sv_read_satp, "ax"
    .globl sv_read_satp
sv_read_satp:
    csrr a0, satp
    ret

    .section .text.sv_call, "ax"
    .globl sv_call
sv_call:
    mv a6, a0
    mv a0, a1
    mv a1, a2
    mv a2, a3
    mv a3, a4
    mv a4, a5
    li a7, 0x100100
    ecall
    ret

    .section .text.sv_put, "ax"
    .globl sv_put
sv_put:
    li a7, 1
    ecall
    ret

    .section .text.sv_exit, "ax"
    .globl sv_exit
sv_exit:
    li a7, 8
    ecall
    j sv_exit

    .section .bss.sv_attempts, "aw", @nobits
    .globl sv_attempts
    .balign 8
sv_attempts:
    .zero 8

# User mode at a0 until it traps, with a1, a2, a3, a4 in its a0 … a3; then the cause and the pc of the trap.
    .section .text.sv_user, "ax"
    .globl sv_user
    .balign 4
sv_user:
    la t0, 9f
    csrw stvec, t0
    la t0, sv_saved
    sd ra, 0(t0)
    sd sp, 8(t0)
    sd gp, 16(t0)
    sd tp, 24(t0)
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
    sd s\n, (32 + 8 * \n)(t0)
    .endr
    csrw sepc, a0
    li t0, 0x100
    csrc sstatus, t0
    mv a0, a1
    mv a1, a2
    mv a2, a3
    mv a3, a4
    sret
    .balign 4
9:  la t0, sv_saved
    ld ra, 0(t0)
    ld sp, 8(t0)
    ld gp, 16(t0)
    ld tp, 24(t0)
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
    ld s\n, (32 + 8 * \n)(t0)
    .endr
    csrr a0, scause
    csrr a1, sepc
    ret

    .section .bss.sv_saved, "aw", @nobits
    .balign 8
sv_saved:
    .zero 128
