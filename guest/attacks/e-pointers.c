/* attack: an enclave gives the monitor pointers to memory that is not its own, or that it may not write: null, its code,
 *         ranges that run into unmapped pages, addresses of the kernel, physical addresses of the monitor and of others
 * stopped by: monitor check
 */
#include "board.h"

static const char name[16] = "server", constant[1024] = {1};

int EAPP_ENTRY main()
{
    uint64_t pointers[] = {0, 8, NOWHERE, (uint64_t)constant, RELAY_ADDRESS + RELAY_SIZE - 4, BOARD_ADDRESS + BOARD_SIZE - 8,
                           KBUFFER_ADDRESS + PAGE_SIZE - 1, 0xffffffff80000000, -8UL, -1UL, 1UL << 38, 1UL << 63 | BOARD_ADDRESS,
                           board->monitor, board->bitmap, board->pt_area, board->host, board->other + PAGE_SIZE};

    rounds(1);
    for (size_t i = 0; i < sizeof pointers / sizeof *pointers; i++) {
        uint64_t to = pointers[i];

        by_check(enclave_call(CALL_REPORT, 0, to, 1, 0) == -1UL);
        by_check(enclave_call(CALL_DERIVE_KEY, 0, to, 32, 0) == -1UL);
        by_check(ocall(OCALL_GET_RANDOM, to, 32, 0) == -1UL);
        by_check(enclave_call(CALL_SHM_STAT, 1, to, 0, 0) == -1UL);
        by_check(enclave_call(CALL_ASYNCHRONOUS, (uint64_t)name, to, 0, 0) == -1UL);
        if (to == 0 || to == (uint64_t)constant)
            continue; /* itself, and what it may read */
        by_check(enclave_call(CALL_ACQUIRE_SERVER, to, 0, 0, 0) == -1UL);
        by_check(enclave_call(CALL_REPORT, to, BOARD_ADDRESS + PAGE_SIZE, 1, 0) == -1UL);
    }
    /* Memory that it would unmap, move, or take. */
    uint64_t places[] = {0x1000, EAPP_STACK_TOP - PAGE_SIZE, KBUFFER_ADDRESS, BOARD_ADDRESS, RELAY_ADDRESS, NOWHERE, 0,
                         board->monitor, board->other, -PAGE_SIZE};

    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        for (uint64_t size = PAGE_SIZE; size; size <<= 13)
            by_check(ocall(OCALL_MUNMAP, places[i], size, 0) == -1UL);
    uint64_t own = (uint64_t)eapp_mmap(NULL, PAGE_SIZE);

    for (uint64_t size = 2 * PAGE_SIZE; size; size <<= 13)
        by_check(ocall(OCALL_MUNMAP, own, size, 0) == -1UL);
    by_check(ocall(OCALL_MUNMAP, own, 0, 0) == -1UL);
    by_check(ocall(OCALL_MUNMAP, own + 8, 8, 0) == -1UL);
    by_check(ocall(OCALL_SBRK, -PAGE_SIZE, 0, 0) == 0x1000000000); /* an empty heap stays where it is */
    by_check(ocall(OCALL_SBRK, 1, 0, 0) == -1UL);
    by_check(ocall(OCALL_SBRK, 1UL << 63, 0, 0) == 0x1000000000);
    by_check(ocall(OCALL_SBRK, 0x2000000000 + PAGE_SIZE, 0, 0) == -1UL);
    by_check(ocall(OCALL_MMAP, 8, PAGE_SIZE, 0) == 0);
    by_check(ocall(OCALL_MMAP, 0, -PAGE_SIZE, 0) == 0);
    by_check(ocall(OCALL_MMAP, 0, 0, 0) == 0);
    for (size_t i = 0; i < 5; i++) { /* taken addresses: it goes elsewhere */
        uint64_t got = ocall(OCALL_MMAP, places[i], PAGE_SIZE, 0);
        by_check(got >= 0x1000000000 && got < 0x3000000000 && *(uint64_t *)got == 0);
    }
    finish();
}
