/* A server that writes a function of its own anew, if its argument is odd, and calls it. */
#include "eapp.h"

#define RETURN_7 0x0000806700700513UL
#define RETURN_9 0x0000806700900513UL

static volatile unsigned long page[PAGE_SIZE / 8] __attribute__((aligned(PAGE_SIZE))) = {RETURN_7};

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t answer = {.resp_val = 0};

    if (args[10] & 1)
        page[0] = RETURN_9;
    __asm__ volatile("fence.i" ::: "memory");
    answer.resp_val = ((unsigned long (*)(void))page)();
    if (!(args[10] & 1) && answer.resp_val != 7)
        __builtin_trap(); /* the execution before has left its code */
    SERVER_RETURN(&answer);
}
