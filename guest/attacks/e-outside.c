/* attack: an enclave reads, writes and executes what is not its own, by physical and by virtual address: the monitor, the
 *         page bitmap, the PT area, the host's memory, another enclave and its kbuffer, addresses of the kernel, null
 * stopped by: page table
 */
#include "board.h"

#define PLACES 10

int EAPP_ENTRY main()
{
    uint64_t places[PLACES] = {board->host, board->other, board->monitor, board->bitmap, board->pt_area,
                               8, NOWHERE, 0xffffffff80000000UL, 0x4000000000UL, board->other_kbuffer};
    uint64_t address = places[(board->round - 1) / 3];

    rounds(3 * PLACES);
    switch (board->round % 3) {
    case 0: load(address); break;
    case 1: store(address); break;
    case 2: fetch(address); break;
    }
    EAPP_RETURN(1);
}
