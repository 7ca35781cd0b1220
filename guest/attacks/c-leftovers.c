/* attack: a server looks for its caller's registers at entry, a caller for its server's after the call, integer and
 *         floating-point ones; a caller looks for the server's memory behind what it was given
 * stopped by: monitor check
 */
#include "board.h"

#define OF_CALLER 0x1dea1dea1dea1deaUL
#define OF_SERVER 0x5ec2e75ec2e75ec2UL

/* Puts the marker into every register but sp, makes a call, and stores x1...x31, f0...f31 and fcsr behind it. */
void marked_call(uint64_t marker, uint64_t function, uint64_t a0, uint64_t a1, uint64_t *after);
__asm__(
    ".text\n"
    ".option push\n .option arch, +d\n"
    "marked_call:\n"
    "addi sp, sp, -144\n"
    "sd ra, 0(sp)\n sd gp, 8(sp)\n sd tp, 16(sp)\n sd s0, 24(sp)\n sd s1, 32(sp)\n sd a4, 120(sp)\n"
    ".irp n, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27\n sd x\\n, (\\n * 8 - 104)(sp)\n .endr\n"
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, "
    "30, 31\n fmv.d.x f\\n, a0\n .endr\n"
    "fscsr a0\n"
    ".irp n, 1, 3, 4, 5, 6, 7, 8, 9, 15, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31\n mv x\\n, a0\n .endr\n"
    "mv a7, a1\n mv a0, a2\n mv a1, a3\n mv a2, t0\n mv a3, t0\n mv a4, t0\n li a6, 0x100101\n"
    "ecall\n"
    "sd t0, 128(sp)\n ld t0, 120(sp)\n"
    ".irp n, 1, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31\n"
    "sd x\\n, (\\n * 8)(t0)\n .endr\n"
    "ld t1, 128(sp)\n sd t1, 40(t0)\n"
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, "
    "30, 31\n fsd f\\n, (256 + \\n * 8)(t0)\n .endr\n"
    "frcsr t1\n sd t1, 512(t0)\n"
    "ld ra, 0(sp)\n ld gp, 8(sp)\n ld tp, 16(sp)\n ld s0, 24(sp)\n ld s1, 32(sp)\n"
    ".irp n, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27\n ld x\\n, (\\n * 8 - 104)(sp)\n .endr\n"
    "addi sp, sp, 144\n ret\n"
    "floats:\n"
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, "
    "30, 31\n fsd f\\n, (\\n * 8)(a0)\n .endr\n"
    "frcsr t1\n sd t1, 256(a0)\n ret\n"
    ".option pop\n");
void floats(uint64_t *into);

static void serve(unsigned long *args)
{
    static uint64_t values[65];
    uint64_t fp[33];
    struct call_enclave_arg_t back = {0};

    floats(fp);
    for (int x = 1; x < 32; x++) /* a0...a4 are arguments, a5...a7 and all others are clear */
        by_check(x == 2 ? args[x] == EAPP_STACK_TOP : x == 10 ? args[x] == 17 : x == 13 ? args[x] == BOARD_ADDRESS
                 : x == 14 ? args[x] == BOARD_SIZE : args[x] == 0);
    for (int f = 0; f < 33; f++)
        by_check(fp[f] == 0);
    for (uint64_t *word = (uint64_t *)(EAPP_STACK_TOP - 8192); word < (uint64_t *)(EAPP_STACK_TOP - 4096); word++)
        *word = OF_SERVER;
    back.resp_vaddr = (uint64_t)eapp_mmap(NULL, PAGE_SIZE);
    back.resp_size = PAGE_SIZE;
    marked_call(OF_SERVER, CALL_SERVER_RETURN, (uint64_t)&back, OF_SERVER, values);
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    if (is_server())
        serve(args);

    static uint64_t after[65];
    long handle = acquire_enclave("server");

    rounds(2);
    for (int time = 0; time < 2; time++) {
        struct call_enclave_arg_t arg = {.req_arg = 17};
        int clear = 1;

        marked_call(OF_CALLER, CALL_CALL_ENCLAVE, (uint64_t)handle, (uint64_t)&arg, after);
        for (int i = 1; i < 64; i++)
            if (i != 2 && i != 10 && i != 11 && i != 16 && i != 17)
                by_check(after[i] == OF_CALLER);
        by_check(after[10] == 0 && after[11] == (uint64_t)&arg && after[64] == (OF_CALLER & 0xff));
        for (size_t word = 0; word < PAGE_SIZE / 8; word++)
            clear &= ((uint64_t *)arg.resp_vaddr)[word] == 0;
        by_check(arg.resp_vaddr && clear);
    }
    finish();
}
