/* attack: a slot of a concurrent server looks for what another one has on its stack, in its registers and its kbuffer, and
 *         for what calls before have left; reads below its stack; unmaps, passes on, splits, sends and returns what
 *         another slot was passed
 * stopped by: monitor check, page table
 */
#include "board.h"

#define SIZE (3 * PAGE_SIZE)
#define STACK (64 << 10)
#define MARK 0x510751075107UL

enum { PAGES = 1, RELAY_PAGES, LEFTOVERS, GUARD, ROUNDS = GUARD };
enum { FIRST, SECOND, MARK_ALL, LOOK, BELOW, KEEP };

#define passed_to_first board->word[1]
#define size_of_first board->word[2]

static void mark(void)
{
    uint64_t here, *end = &here - 64;

    for (uint64_t *word = (uint64_t *)(EAPP_STACK_TOP - STACK); word < end; word++)
        *word = MARK;
}

static int is_clear(void)
{
    uint64_t here, *end = &here - 64, found = 0;

    for (uint64_t *word = (uint64_t *)(EAPP_STACK_TOP - STACK); word < end; word++)
        found |= *word;
    return found == 0;
}

static void steal(struct call_enclave_arg_t *back)
{
    struct call_enclave_arg_t arg = {.req_arg = KEEP, .req_vaddr = passed_to_first, .req_size = size_of_first};
    long other = acquire_enclave("other"), itself = acquire_enclave("server");

    by_check(call_enclave(other, &arg) == -1);
    arg.req_size = PAGE_SIZE;
    by_check(call_enclave(other, &arg) == -1);
    by_check(call_enclave(itself, &arg) < 0); /* full, or refused */
    by_check(eapp_munmap((void *)passed_to_first, size_of_first) == -1);
    by_check(split_mem_region(passed_to_first, size_of_first, passed_to_first + PAGE_SIZE) == -1);
    by_check(asyn_enclave_call("attack", &arg) == -1);
    back->req_vaddr = back->resp_vaddr = passed_to_first; /* and its client must get nothing */
    back->req_size = back->resp_size = size_of_first;
}

static void serve(unsigned long *args)
{
    struct call_enclave_arg_t back = {.req_vaddr = args[11], .req_size = args[12]};
    int registers = 1;

    for (int x = 1; x < 32; x++) /* but sp, and the arguments a0 … a4 */
        registers &= x == 2 || (x >= 10 && x <= 14) || args[x] == 0;
    switch (args[10]) {
    case FIRST:
        mark();
        passed_to_first = args[11];
        size_of_first = args[12];
        for (volatile char *to = (char *)KBUFFER_ADDRESS + 1024; to < (char *)KBUFFER_ADDRESS + 2048; to++)
            *to = 1;
        eapp_yield();
        enclave_call(CALL_OCALL, OCALL_WRITE, 0, 0, 0); /* here it is paused, and the second one runs */
        break;
    case SECOND:
        by_check(registers && is_clear());
        by_check(*((volatile char *)KBUFFER_ADDRESS + 1024) == 0);
        steal(&back);
        break;
    case MARK_ALL: mark(); break;
    case LOOK: by_check(registers && is_clear()); break;
    case BELOW: load(EAPP_STACK_TOP - STACK - 8); break;
    }
    SERVER_RETURN(&back);
}

static void first_and_second(uint64_t own, uint64_t size)
{
    struct call_enclave_arg_t arg = {.req_arg = board->word[0]++ ? SECOND : FIRST, .req_vaddr = own, .req_size = size};

    *(volatile uint64_t *)own = MARK;
    if (arg.req_arg == FIRST)
        *(volatile char *)KBUFFER_ADDRESS = 'x', *((volatile char *)KBUFFER_ADDRESS + 1) = 0;
    works(call_enclave(acquire_enclave("server"), &arg) == 0);
    if (arg.req_arg == FIRST)
        works(arg.req_vaddr == own && *(volatile uint64_t *)own == MARK);
    else
        by_check(arg.req_vaddr == 0 && arg.resp_vaddr == 0 && arg.resp_size == 0);
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    if (is_server())
        serve(args);

    struct call_enclave_arg_t arg = {.req_arg = MARK_ALL};
    long handle = acquire_enclave("server");

    rounds(ROUNDS);
    switch (board->round) {
    case PAGES: first_and_second(touch((uint64_t)eapp_mmap(NULL, SIZE)), SIZE); break;
    case RELAY_PAGES: first_and_second(RELAY_ADDRESS, RELAY_SIZE); break;
    case LEFTOVERS:
        works(call_enclave(handle, &arg) == 0);
        arg.req_arg = LOOK;
        works(call_enclave(handle, &arg) == 0);
        break;
    case GUARD:
        arg.req_arg = BELOW;
        call_enclave(handle, &arg);
    }
    board->word[0] = 0;
    finish();
}
