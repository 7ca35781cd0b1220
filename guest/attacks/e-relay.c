/* attack: an enclave splits and sends relay pages that are not its own: addresses and sizes that are no region, other
 *         memory, parts of two regions, the same region twice, more than ten of them
 * stopped by: monitor check
 */
#include "board.h"

static long send(uint64_t address, uint64_t size)
{
    struct call_enclave_arg_t arg = {.req_vaddr = address, .req_size = size};

    return asyn_enclave_call("receiver", &arg);
}

int EAPP_ENTRY main()
{
    uint64_t mapped = (uint64_t)eapp_mmap(NULL, PAGE_SIZE), middle = RELAY_ADDRESS + 2 * PAGE_SIZE;
    uint64_t others[] = {mapped, 0x1000, EAPP_STACK_TOP - PAGE_SIZE, KBUFFER_ADDRESS, BOARD_ADDRESS, NOWHERE, 0,
                         (uint64_t)eapp_shm_get(4, PAGE_SIZE, 0), board->other, -PAGE_SIZE};

    rounds(1);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        by_check(send(others[i], PAGE_SIZE) == -1);
        by_check(split_mem_region(others[i], 2 * PAGE_SIZE, others[i] + PAGE_SIZE) == -1);
    }
    by_check(send(RELAY_ADDRESS, RELAY_SIZE + PAGE_SIZE) == -1);
    by_check(send(RELAY_ADDRESS, 0) == -1);
    by_check(send(RELAY_ADDRESS + 8, PAGE_SIZE) == -1);
    by_check(send(RELAY_ADDRESS, -PAGE_SIZE) == -1);
    by_check(split_mem_region(RELAY_ADDRESS, RELAY_SIZE, middle + 8) == -1);
    by_check(split_mem_region(RELAY_ADDRESS, RELAY_SIZE, RELAY_ADDRESS) == -1);
    by_check(split_mem_region(RELAY_ADDRESS, RELAY_SIZE, RELAY_ADDRESS + RELAY_SIZE) == -1);
    by_check(split_mem_region(RELAY_ADDRESS, RELAY_SIZE, mapped) == -1);
    by_check(split_mem_region(RELAY_ADDRESS, 2 * RELAY_SIZE, middle) == -1);
    by_check(split_mem_region(RELAY_ADDRESS, 3 * PAGE_SIZE, middle) == -1);
    by_check(split_mem_region(RELAY_ADDRESS + PAGE_SIZE, 3 * PAGE_SIZE, middle) == -1);
    works(split_mem_region(RELAY_ADDRESS, RELAY_SIZE, middle) == 0);
    by_check(send(RELAY_ADDRESS, RELAY_SIZE) == -1); /* two regions now */
    by_check(split_mem_region(RELAY_ADDRESS, RELAY_SIZE, middle + PAGE_SIZE) == -1);
    works(send(middle, PAGE_SIZE) == 0);
    by_check(send(middle, PAGE_SIZE) == -1); /* a second time */
    by_check(split_mem_region(middle, 2 * PAGE_SIZE, middle + PAGE_SIZE) == -1);
    works(touch(RELAY_ADDRESS) != 0);
    finish();
}
