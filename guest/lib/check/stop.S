/* The end of a checked enclave: the host reports a breakpoint in a function that is named after the error.
 *
 * pc, sp and frame of the code that was checked are in a0, a1 and a2. With them in ra, sp and s0 whoever looks at the
 * registers finds that code as the caller.
 */
    .macro stop name
    .section .text.\name, "ax", @progbits
    .globl \name
    .type \name, @function
\name:
    mv ra, a0
    mv sp, a1
    mv s0, a2
1:  ebreak
    j 1b
    .size \name, . - \name
    .endm

    stop heap_buffer_overflow
    stop heap_use_after_free
    stop global_buffer_overflow
    stop stack_buffer_overflow
    stop stack_use_after_return
    stop stack_use_after_scope
    stop container_overflow
    stop memory_not_for_use
    stop freed_twice
    stop bad_free
    stop undefined_behaviour
