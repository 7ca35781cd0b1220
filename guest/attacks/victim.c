/* No attack: who is attacked. An enclave with markers in all the memory that it can have, paused in the host's hands.
 * Resumed, it looks whether one has changed: its exit value says so.
 */
#include <stdint.h>

#include "eapp.h"
#include "ecall.h"

#define MARKER 0x5ec2e75ec2e75ec2UL
#define KBUFFER_ADDRESS 0xffffffe000000000UL
#define WORDS (PAGE_SIZE / 8)

static uint64_t own[4 * WORDS];

static void fill(uint64_t *words, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        words[i] = MARKER + i;
}

static int is_whole(const uint64_t *words, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        if (words[i] != MARKER + i)
            return 0;
    return 1;
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    uint64_t *memory[] = {own, eapp_mmap(NULL, 3 * PAGE_SIZE), (uint64_t *)args[13], eapp_shm_get(1, PAGE_SIZE, 0)};
    uint64_t words[] = {4 * WORDS, 3 * WORDS, WORDS, WORDS};

    for (int i = 0; i < 4; i++)
        fill(memory[i], words[i]);
    *(volatile uint32_t *)KBUFFER_ADDRESS = '!'; /* printing something is when it gets paused */
    ocall(OCALL_WRITE, 0, 0, 0);
    for (int i = 0; i < 4; i++)
        if (!is_whole(memory[i], words[i]))
            EAPP_RETURN(1 + i);
    EAPP_RETURN(0);
}
