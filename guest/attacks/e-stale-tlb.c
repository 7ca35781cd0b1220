/* attack: an enclave goes on using memory that it has given back or away: after munmap, sbrk, detach, after sending relay
 *         pages or returning them to the host, and after it was destroyed and another took its place
 * stopped by: page table
 */
#include "board.h"

static void send(uint64_t address, uint64_t size)
{
    struct call_enclave_arg_t arg = {.req_vaddr = address, .req_size = size};

    works(asyn_enclave_call("nobody", &arg) == 0);
}

int EAPP_ENTRY main()
{
    uint64_t address, half = RELAY_ADDRESS + RELAY_SIZE / 2;

    rounds(11);
    switch (board->round) {
    case 1:
    case 2:
        address = touch((uint64_t)eapp_mmap(NULL, PAGE_SIZE));
        works(eapp_munmap((void *)address, PAGE_SIZE) == 0);
        if (board->round == 1)
            load(address);
        store(address);
        break;
    case 3:
        address = touch((uint64_t)eapp_sbrk(PAGE_SIZE) - PAGE_SIZE);
        works(eapp_sbrk(-PAGE_SIZE) == (void *)address);
        load(address);
        break;
    case 4:
        address = touch((uint64_t)eapp_shm_get(3, PAGE_SIZE, 0));
        works(eapp_shm_detach(3) == 0);
        load(address);
        break;
    case 5:
        touch(RELAY_ADDRESS);
        send(RELAY_ADDRESS, RELAY_SIZE);
        load(RELAY_ADDRESS);
        break;
    case 6:
        touch(half);
        works(split_mem_region(RELAY_ADDRESS, RELAY_SIZE, half) == 0);
        send(half, PAGE_SIZE);
        touch(RELAY_ADDRESS);
        load(half);
        break;
    case 7:
    case 8:
        touch(RELAY_ADDRESS);
        works(ocall(OCALL_RETURN_RELAY, 0, 0, 0) == 0); /* and gets no new ones */
        if (board->round == 7)
            load(RELAY_ADDRESS);
        store(RELAY_ADDRESS);
        break;
    case 9: /* and exits with it */
        works(eapp_mmap((void *)NOWHERE, PAGE_SIZE) == (void *)NOWHERE);
        touch(NOWHERE);
        finish();
    case 10: load(NOWHERE); break;
    case 11: store(NOWHERE); break;
    }
    EAPP_RETURN(1);
}
