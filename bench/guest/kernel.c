/* The same ELF for every runner: computes `kernel(rounds)` and exits with the result, first as an enclave does.
 * Under Linux that call is set_robust_list, which refuses and comes back; then exit is called as Linux has it.
 * bench/compute.py puts the number of rounds into the file, in the place of the mark.
 */
#include "eapp.h"

unsigned long kernel(unsigned long rounds);

volatile unsigned long rounds = 0x1122334455667788;

int EAPP_ENTRY main()
{
    unsigned long value = kernel(rounds) & 0xff;
    __asm__ volatile("mv s1, %0\n"
                     "mv a0, s1\n li a1, 0\n li a6, 0x100101\n li a7, 99\n ecall\n"
                     "mv a0, s1\n li a7, 93\n ecall\n"
                     :
                     : "r"(value)
                     : "s1", "a0", "a1", "a6", "a7", "memory");
    __builtin_unreachable();
}
