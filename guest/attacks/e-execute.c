/* attack: an enclave executes its stack, heap, memory from mmap, relay pages, memory shared with the host and between
 *         enclaves, the kbuffer; writes its code and constants; lets its stack grow into what is below
 * stopped by: page table
 */
#include "board.h"

static const uint64_t constant[2] = {1, 2};

static uint64_t code(uint64_t address) /* it returns, should it ever run */
{
    *(volatile uint32_t *)address = 0x00008067;
    return address;
}

static __attribute__((noinline)) uint64_t deeper(volatile uint64_t *from)
{
    volatile uint64_t here[64];

    here[0] = *from;
    return deeper(here) + here[0];
}

int EAPP_ENTRY main()
{
    uint64_t start = 1, mapped = (uint64_t)eapp_mmap(NULL, PAGE_SIZE);

    rounds(12);
    switch (board->round) {
    case 1: fetch(code(EAPP_STACK_TOP - 2 * PAGE_SIZE)); break;
    case 2: fetch(code((uint64_t)eapp_sbrk(PAGE_SIZE) - PAGE_SIZE)); break;
    case 3: fetch(code(mapped)); break;
    case 4: fetch(code(RELAY_ADDRESS)); break;
    case 5: fetch(code(BOARD_ADDRESS + PAGE_SIZE)); break;
    case 6: fetch(code((uint64_t)eapp_shm_get(2, PAGE_SIZE, 0))); break;
    case 7: fetch(code(KBUFFER_ADDRESS)); break;
    case 8: store(0x1000); break;
    case 9: store((uint64_t)constant); break;
    case 10: store(EAPP_STACK_TOP - 16384 - 8); break;
    case 11: expect(CAUSE_STORE_PAGE, ANY_ADDRESS); deeper(&start); break;
    case 12: load(mapped - 8); break; /* below a mapping */
    }
    EAPP_RETURN(1);
}
