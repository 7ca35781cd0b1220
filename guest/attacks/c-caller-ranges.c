/* attack: a caller passes what is not its own to give: its code, stack, heap, kbuffer, memory shared with the host or
 *         between enclaves, parts beyond a mapping, the server's addresses, the same range twice; or a call struct that
 *         overlaps, straddles, or is not writable; or it calls what is no server
 * stopped by: monitor check
 */
#include "board.h"

#define SIZE (3 * PAGE_SIZE)
#define KEEP 1

static long handle;

static void refused(long to, uint64_t address, uint64_t size)
{
    struct call_enclave_arg_t arg = {.req_vaddr = address, .req_size = size};

    by_check(call_enclave(to, &arg) == -1 && arg.req_vaddr == address && arg.req_size == size);
}

static void refused_struct(uint64_t address)
{
    by_check(enclave_call(CALL_CALL_ENCLAVE, handle, address, 0, 0) == -1UL);
}

int EAPP_ENTRY main()
{
    static const uint64_t constant[6];
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t arg = {.resp_val = args[11]};

    if (is_server()) {
        arg.req_vaddr = args[10] == KEEP ? 0 : args[11];
        arg.req_size = args[12];
        SERVER_RETURN(&arg);
    }
    rounds(1);
    handle = acquire_enclave("server");

    uint64_t own = (uint64_t)eapp_mmap(NULL, SIZE), last = own + SIZE - PAGE_SIZE;
    uint64_t ranges[][2] = {
        {0x1000, PAGE_SIZE}, {EAPP_STACK_TOP - PAGE_SIZE, PAGE_SIZE}, {EAPP_STACK_TOP - PAGE_SIZE, 2 * PAGE_SIZE},
        {(uint64_t)eapp_sbrk(PAGE_SIZE) - PAGE_SIZE, PAGE_SIZE}, {KBUFFER_ADDRESS, PAGE_SIZE}, {BOARD_ADDRESS, PAGE_SIZE},
        {(uint64_t)eapp_shm_get(7, PAGE_SIZE, 0), PAGE_SIZE}, {own, SIZE + PAGE_SIZE}, {last, 2 * PAGE_SIZE},
        {own - PAGE_SIZE, 2 * PAGE_SIZE}, {own + 8, PAGE_SIZE}, {own, PAGE_SIZE + 8}, {own, 0}, {own, -PAGE_SIZE},
        {last, -PAGE_SIZE}, {own, 1UL << 63}, {NOWHERE, PAGE_SIZE}, {RELAY_ADDRESS + PAGE_SIZE, PAGE_SIZE},
        {RELAY_ADDRESS, RELAY_SIZE + PAGE_SIZE}, {board->monitor, PAGE_SIZE}, {board->other, PAGE_SIZE}, {-PAGE_SIZE, PAGE_SIZE},
        {1UL << 63 | own, PAGE_SIZE},
    };

    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        refused(handle, ranges[i][0], ranges[i][1]);
    long handles[] = {(long)get_enclave_id(), (long)board->other_eid, -1, 1000, handle | 1L << 32, handle | 1L << 63};

    for (size_t i = 0; i < sizeof handles / sizeof *handles; i++) {
        refused(handles[i], own, SIZE);
        refused(handles[i], 0, 0);
    }
    uint64_t structs[] = {0, 8, 0x1000, (uint64_t)constant, NOWHERE, -8UL, -48UL, RELAY_ADDRESS + RELAY_SIZE - 16,
                          BOARD_ADDRESS + BOARD_SIZE - 8, 0xffffffff80000000, board->monitor, board->other};

    for (size_t i = 0; i < sizeof structs / sizeof *structs; i++)
        refused_struct(structs[i]);
    for (uint64_t offset = 0; offset <= SIZE - sizeof arg; offset += PAGE_SIZE - 24) { /* inside what it passes */
        struct call_enclave_arg_t *inside = (void *)(own + offset);

        *inside = (struct call_enclave_arg_t){.req_vaddr = own, .req_size = PAGE_SIZE};
        refused_struct((uint64_t)inside);
    }
    touch(own);
    touch(last);
    arg = (struct call_enclave_arg_t){.req_vaddr = own, .req_size = SIZE}; /* and this is right */
    works(call_enclave(handle, &arg) == 0 && arg.req_vaddr == own && *(uint64_t *)last == last);
    arg = (struct call_enclave_arg_t){.req_arg = KEEP, .req_vaddr = own, .req_size = SIZE}; /* it has that only once */
    works(call_enclave(handle, &arg) == 0 && arg.req_vaddr == 0);
    refused(handle, own, SIZE);
    refused(handle, last, PAGE_SIZE);
    finish();
}
