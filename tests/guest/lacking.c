/* Instructions that the JIT lacks, in a loop and in the middle of blocks, and a counter that is read. */

#include "eapp.h"

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    unsigned long sum = 1, clock = 0;

    for (int i = 0; i < 100; i++) {
        asm volatile("addi %0, %0, 3\n"
                     ".insn r 0x33, 2, 0x10, %0, %0, %2\n" /* sh1add */
                     "addi %0, %0, 5\n"
                     "rdcycle %1\n"
                     "mv a5, %0\n"
                     ".insn 0x9fe1\n" /* c.zext.b a5 */
                     "add %0, %0, a5"
                     : "+r"(sum), "=r"(clock) : "r"((unsigned long)i) : "a5");
    }
    EAPP_RETURN(sum & 0xff);
}
