/* attack: a server never returns, or faults in the middle of a call; then, called again, it looks for the memory that the
 *         broken call had passed to it, or to a server that it had called
 * stopped by: timer, page table
 */
#include "board.h"

#define SIZE (3 * PAGE_SIZE)

enum { SPIN, FAULT, THROUGH, LOOK };

static void serve(uint64_t what, uint64_t address, uint64_t size)
{
    static uint64_t before;
    struct call_enclave_arg_t back = {0};

    if (address)
        before = touch(address);
    switch (what) {
    case SPIN:
        expect(CAUSE_TIMER, 0);
        for (;;)
            __asm__ volatile("");
    case FAULT: load(NOWHERE); break;
    case THROUGH: /* the one that it calls does not come back: it is idle when that has ended */
        back = (struct call_enclave_arg_t){.req_arg = board->round == 3 ? SPIN : FAULT, .req_vaddr = address, .req_size = size};
        call_enclave(acquire_enclave("other"), &back);
        break;
    case LOOK: load(before); break;
    }
    SERVER_RETURN(&back);
}

int EAPP_ENTRY main()
{
    static const unsigned char what[] = {SPIN, LOOK, THROUGH, LOOK, THROUGH, LOOK, FAULT, FAULT};
    unsigned long *args;
    EAPP_RESERVE_REG;
    if (is_server())
        serve(args[10], args[11], args[12]);

    rounds(sizeof what);
    struct call_enclave_arg_t arg = {.req_arg = what[board->round - 1]};

    if (arg.req_arg != LOOK) {
        arg.req_vaddr = (uint64_t)eapp_mmap(NULL, SIZE);
        arg.req_size = SIZE;
    }
    works(call_enclave(acquire_enclave("server"), &arg) == 0);
    EAPP_RETURN(1);
}
