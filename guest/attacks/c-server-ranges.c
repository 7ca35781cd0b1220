/* attack: a server returns memory that is not its own to give: its code, stack, kbuffer and shared memory, its caller's
 *         addresses, a mapping and more, the same mapping twice, what it has unmapped; or it passes a bad pointer
 * stopped by: monitor check
 */
#include "board.h"

#define SIZE (3 * PAGE_SIZE)

enum { CODE, STACK, OF_KBUFFER, BOARD, OF_CALLER, TOO_LONG, UNALIGNED, NOTHING, WRAPS, TWICE, UNMAPPED, HEAP, KINDS };

static void serve(uint64_t kind, uint64_t request)
{
    uint64_t own = (uint64_t)eapp_mmap(NULL, SIZE), address = own, size = SIZE;
    struct call_enclave_arg_t back = {.resp_val = kind + 1};

    switch (kind) {
    case CODE: address = 0x1000, size = PAGE_SIZE; break;
    case STACK: address = EAPP_STACK_TOP - PAGE_SIZE, size = PAGE_SIZE; break;
    case OF_KBUFFER: address = KBUFFER_ADDRESS, size = PAGE_SIZE; break;
    case BOARD: address = BOARD_ADDRESS, size = BOARD_SIZE; break;
    case OF_CALLER: address = board->word[0], size = PAGE_SIZE; break;
    case TOO_LONG: size = SIZE + PAGE_SIZE; break;
    case UNALIGNED: address = own + 8; break;
    case NOTHING: address = NOWHERE; break;
    case WRAPS: size = -PAGE_SIZE; break;
    case TWICE: address = request; break;
    case UNMAPPED: eapp_munmap((void *)own, SIZE); break;
    case HEAP: address = (uint64_t)eapp_sbrk(PAGE_SIZE) - PAGE_SIZE, size = PAGE_SIZE; break;
    }
    back.resp_vaddr = address;
    back.resp_size = size;
    if (kind == TWICE)
        back.req_vaddr = request, back.req_size = SIZE;
    by_check(enclave_call(CALL_SERVER_RETURN, 0x1000 - 16, 0, 0, 0) == -1UL); /* these do return */
    by_check(enclave_call(CALL_SERVER_RETURN, NOWHERE, 0, 0, 0) == -1UL);
    by_check(enclave_call(CALL_SERVER_RETURN, 0x4000000000UL - 8, 0, 0, 0) == -1UL);
    SERVER_RETURN(&back);
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    if (is_server())
        serve(args[10], args[11]);

    long handle = acquire_enclave("server");
    uint64_t kept = (uint64_t)eapp_mmap(NULL, PAGE_SIZE);

    board->word[0] = kept;
    for (uint64_t kind = 0; kind < KINDS; kind++) {
        struct call_enclave_arg_t arg = {.req_arg = kind};

        arg.req_vaddr = (uint64_t)eapp_mmap(NULL, SIZE);
        arg.req_size = SIZE;
        works(call_enclave(handle, &arg) == 0 && arg.resp_val == kind + 1);
        by_check(arg.resp_vaddr == 0 && arg.resp_size == 0);
        works(kind == TWICE ? arg.req_vaddr != 0 : arg.req_vaddr == 0);
        works(*(uint64_t *)kept == 0);
    }
    finish();
}
