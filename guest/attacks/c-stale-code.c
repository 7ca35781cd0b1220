/* attack: an enclave has the monitor write over code of its own that has run, by calls that give it something, and runs it
 *         again
 * stopped by: monitor check, privilege
 */
#include "board.h"

#define RETURN_7 0x0000806700700513UL /* li a0, 7; ret */
#define RETURN_9 0x0000806700900513UL
#define WORDS (PAGE_SIZE / 8)
#define NONCE_AT 32 /* words into a report */

static uint64_t page[2 * WORDS] __attribute__((aligned(PAGE_SIZE)));

static uint64_t run(uint64_t *code)
{
    __asm__ volatile("fence.i" ::: "memory");
    return ((uint64_t (*)(void))code)();
}

/* Fill both pages with code that returns 7, and have run what is at `code`. */
static void prepare(uint64_t *code)
{
    for (size_t i = 0; i < 2 * WORDS; i++)
        ((volatile uint64_t *)page)[i] = RETURN_7;
    works(run(code) == 7);
}

int EAPP_ENTRY main()
{
    struct call_enclave_arg_t back = {.resp_val = RETURN_9}, *results = (void *)(page + 8);

    if (is_server())
        SERVER_RETURN(&back);

    rounds(2);
    if (board->round == 1) {
        prepare(page + NONCE_AT);
        works(enclave_call(CALL_REPORT, 0, (uint64_t)page, RETURN_9, 0) == 0);
        by_check(run(page + NONCE_AT) == 9);
        prepare(page + WORDS); /* a report across the end of a page */
        works(enclave_call(CALL_REPORT, 0, (uint64_t)(page + WORDS - NONCE_AT), RETURN_9, 0) == 0);
        by_check(run(page + WORDS) == 9);
        *results = (struct call_enclave_arg_t){.resp_val = RETURN_7};
        works(run((uint64_t *)&results->resp_val) == 7);
        works(call_enclave(acquire_enclave("server"), results) == 0);
        by_check(run((uint64_t *)&results->resp_val) == 9);
        finish();
    }
    /* Memory shared by one enclave, of 4096 bytes: c.nop, an illegal instruction, and 4096 is none either. */
    prepare(page);
    eapp_shm_get(7, PAGE_SIZE, 0);
    works(enclave_call(CALL_SHM_STAT, 7, (uint64_t)page, 0, 0) == 0 && page[0] == 1);
    expect(CAUSE_ILLEGAL, ANY_ADDRESS);
    run(page);
    attempt('I', 0);
    EAPP_RETURN(1);
}
