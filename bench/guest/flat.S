/* Two programs in one address space, for plain Unicorn: `client` calls `server` s0 times, with nothing passed and
 * nothing protected. bench/peers.py swaps the registers at each ecall. Linked nowhere: position independent.
 */
    .text
    .globl client
client:
1:  li a7, 96
    ecall
    addi s0, s0, -1
    bnez s0, 1b
    li a7, 99
    ecall
    .globl server
server:
    li a7, 95
    ecall
