/* attack: the kernel looks for what an enclave leaves behind, in every page that comes back: its block, memory from mmap,
 *         relay pages; and in its own registers; it gives an enclave memory that is not clear, and registers
 * stopped by: monitor check
 */
#include "forge.h"

#define SECRET 0x5ec2e75ec2e75ec2UL

#define MINE 0x1dea1dea1dea1deaUL
#define ENTRY(puppet) ((volatile uint64_t *)(puppet).command + 7) /* its registers at entry, x0 first, then f0 */

/* A monitor call with MINE in all registers but sp, gp, tp; stores x5...x31 and f0...f31 as they are then. */
void marked_call(uint64_t function, uint64_t a0, uint64_t a1, uint64_t *after);
__asm__(
    ".text\n"
    ".option push\n .option arch, +d\n"
    "marked_call:\n"
    "addi sp, sp, -128\n"
    "sd ra, 0(sp)\n sd a3, 8(sp)\n sd s0, 16(sp)\n sd s1, 24(sp)\n"
    ".irp n, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27\n sd x\\n, (\\n * 8 - 112)(sp)\n .endr\n"
    "li t0, 0x1dea1dea1dea1dea\n mv a6, a0\n mv a0, a1\n mv a1, a2\n mv a2, zero\n mv a3, zero\n mv a4, zero\n"
    "li a7, 0x100100\n"
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, "
    "30, 31\n fmv.d.x f\\n, t0\n .endr\n"
    ".irp n, 1, 6, 7, 8, 9, 15, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31\n mv x\\n, t0\n .endr\n"
    "ecall\n"
    "mv ra, t0\n ld t0, 8(sp)\n"
    ".irp n, 1, 6, 7, 8, 9, 15, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31\n sd x\\n, (\\n * 8)(t0)\n .endr\n"
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, "
    "30, 31\n fsd f\\n, (256 + \\n * 8)(t0)\n .endr\n"
    "ld ra, 0(sp)\n ld s0, 16(sp)\n ld s1, 24(sp)\n"
    ".irp n, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27\n ld x\\n, (\\n * 8 - 112)(sp)\n .endr\n"
    "addi sp, sp, 128\n ret\n"
    ".option pop\n");

/* The kernel's registers are its own after a call that an enclave has run in, and were not there at its entry. */
static void registers(struct puppet *puppet, int at_entry)
{
    static uint64_t after[64];

    puppet->command->function = 90;
    if (at_entry)
        marked_call(CALL_RUN, puppet->eid, (uint64_t)puppet->run_params, after);
    else
        marked_call(CALL_RESUME, puppet->eid, 0, after);
    puppet->started = 1;
    for (int i = 0; i < 64; i++)
        if (after[i])
            sv_stopped('M', after[i] == MINE);
    sv_works(after[1] && after[31] && after[63]);
    if (at_entry)
        for (int i = 1; i < 64; i++)
            if (i != 8)
                sv_stopped('M', ENTRY(*puppet)[i] == (i == 2 || i == 13 ? 0x3800000000 : i == 10 ? 0x3900000000
                                                      : i == 11 ? 4096 : i == 12 ? 1 : i == 14 ? 2 * 4096 : 0));
}

static void clear(uint64_t start, uint64_t size, uint64_t own_rows)
{
    int found = 0;

    for (uint64_t word = own_rows; word < size / 8; word++)
        found |= at(start)[word] != 0;
    for (uint64_t word = 0; word < own_rows; word++)
        found |= at(start)[word] == SECRET;
    sv_stopped('M', !found);
}

int EAPP_ENTRY main()
{
    struct puppet puppet;
    uint64_t relay = sv_take(2), block = sv_take(4), dropped = sv_take(2), address;

    forge(&puppet, "puppet", NORMAL);
    sv_works(forge_create(&puppet).error == 0);
    puppet.run_params[0] = relay;
    puppet.run_params[1] = 2 * 4096;
    registers(&puppet, 1);
    registers(&puppet, 0);
    sv_works(puppet_go(&puppet, PUPPET_STORE, PUPPET_DATA + 8, SECRET, 0, 0).value == STATUS_YIELD);
    sv_works(puppet_go(&puppet, PUPPET_STORE, 0x3800001000, SECRET, 0, 0).value == STATUS_YIELD);

    for (int i = 0; i < 4 * 512; i++)
        at(block)[i] = SECRET;
    sv_works(puppet_go(&puppet, 98, 1, 0, 3 * 4096, 0).value == STATUS_OCALL);
    sv_works(puppet_answer(&puppet, 1, block, 4 * 4096).value == STATUS_YIELD);
    address = puppet.command->result;
    sv_works(puppet_go(&puppet, PUPPET_LOAD, address + 4096, 0, 0, 0).value == STATUS_YIELD);
    sv_stopped('M', puppet.command->result == 0);
    sv_works(puppet_go(&puppet, PUPPET_STORE, address + 4096, SECRET, 0, 0).value == STATUS_YIELD);

    sv_works(puppet_go(&puppet, 98, 1, 0, 4096, 0).value == STATUS_OCALL);
    sv_works(puppet_answer(&puppet, 1, dropped, 2 * 4096).value == STATUS_YIELD);
    address = puppet.command->result;
    sv_works(puppet_go(&puppet, PUPPET_STORE, address, SECRET, 0, 0).value == STATUS_YIELD);
    sv_works(puppet_go(&puppet, 98, 2, address, 4096, 0).value == STATUS_OCALL); /* munmap */
    clear(dropped, 2 * 4096, 4);
    sv_works(puppet_answer(&puppet, 2, 0, 0).value == STATUS_YIELD);

    sv_works(sv_call(CALL_DESTROY, puppet.eid, 0, 0, 0, 0).error == 0);
    clear(puppet.block, puppet.size, 8); /* its first page lists what is back: three blocks */
    clear(block, 4 * 4096, 0);
    clear(relay, 2 * 4096, 0);
    sv_exit(0);
}
