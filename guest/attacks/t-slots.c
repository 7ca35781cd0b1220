/* attack: a slot of a concurrent server looks for what another one has on its stack, in its registers and its kbuffer, and
 *         for what calls before have left, or the monitor has written for them; reads below its stack; unmaps, passes on,
 *         splits, sends and returns what another slot was passed; takes away the call struct of one that is in a call
 * stopped by: monitor check, page table
 */
#include "board.h"

#define SIZE (3 * PAGE_SIZE)
#define STACK (64 << 10)
#define MARK 0x510751075107UL
#define ELSEWHERE NOWHERE

enum { PAGES = 1, PAGES_LENT, RELAY_PAGES, LEFTOVERS, STRUCT, STRUCT_MOVED, GUARD, ROUNDS = GUARD };
enum { ANSWER, FIRST, SECOND, MARK_ALL, HAVE_WRITTEN, LOOK, BELOW, KEEP, PAUSE, LEND_STRUCT, TAKE_STRUCT, MOVE_STRUCT };

#define passed_to_first board->word[1]
#define size_of_first board->word[2]
#define struct_of_first board->word[3]

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

/* The monitor writes where the slot itself has not: results of a call, and of an ocall. */
static void have_written(void)
{
    uint64_t bottom = EAPP_STACK_TOP - STACK;

    works(call_enclave(acquire_enclave("other"), (struct call_enclave_arg_t *)bottom) == 0);
    works(eapp_get_random((void *)(bottom + PAGE_SIZE), PAGE_SIZE / 2) == PAGE_SIZE / 2);
}

/* It passes memory to another slot, which has it already. */
static void to_itself(void)
{
    uint64_t own = touch((uint64_t)eapp_mmap(NULL, PAGE_SIZE));
    struct call_enclave_arg_t arg = {.req_vaddr = own, .req_size = PAGE_SIZE};

    works(call_enclave(acquire_enclave("server"), &arg) == 0);
    works(arg.req_vaddr == own && *(volatile uint64_t *)own == own);
}

/* The struct lies in memory that the other slot unmaps during the call, or moves. */
static void lend_struct(void)
{
    struct call_enclave_arg_t *lent = eapp_mmap(NULL, PAGE_SIZE);

    struct_of_first = (uint64_t)lent;
    lent->req_arg = PAUSE;
    if (board->round == STRUCT) {
        by_check(call_enclave(acquire_enclave("other"), lent) == -1);
        return;
    }
    works(call_enclave(acquire_enclave("other"), lent) == 0 && lent->resp_val == MARK);
    by_check(*(volatile uint64_t *)(ELSEWHERE + offsetof(struct call_enclave_arg_t, resp_val)) == 0);
}

/* There is other memory where the struct was, and the struct's own is elsewhere. */
static void move_struct(void)
{
    void *other = eapp_mmap(NULL, PAGE_SIZE);

    works(eapp_munmap((void *)struct_of_first, PAGE_SIZE) == 0);
    works(eapp_mmap((void *)ELSEWHERE, PAGE_SIZE) == (void *)ELSEWHERE);
    works(eapp_munmap(other, PAGE_SIZE) == 0);
    works(eapp_mmap((void *)struct_of_first, PAGE_SIZE) == (void *)struct_of_first);
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

/* What the slot was passed is passed on, and comes back: then it is the slot's alone as before. */
static uint64_t lend(uint64_t address, uint64_t size)
{
    struct call_enclave_arg_t arg = {.req_vaddr = address, .req_size = size};

    works(call_enclave(acquire_enclave("other"), &arg) == 0 && arg.req_vaddr == address);
    return arg.req_vaddr;
}

static void pause_here(void) { enclave_call(CALL_OCALL, OCALL_WRITE, 0, 0, 0); } /* and the second one runs */

static void serve(unsigned long *args)
{
    struct call_enclave_arg_t back = {.req_vaddr = args[11], .req_size = args[12], .resp_val = MARK};
    int registers = 1;

    for (int x = 1; x < 32; x++) /* but sp, and the arguments a0 … a4 */
        registers &= x == 2 || (x >= 10 && x <= 14) || args[x] == 0;
    switch (args[10]) {
    case FIRST:
        mark();
        passed_to_first = board->round == PAGES ? args[11] : lend(args[11], args[12]);
        size_of_first = args[12];
        for (volatile char *to = (char *)KBUFFER_ADDRESS + 1024; to < (char *)KBUFFER_ADDRESS + 2048; to++)
            *to = 1;
        eapp_yield();
        pause_here();
        break;
    case SECOND:
        by_check(registers && is_clear());
        by_check(*((volatile char *)KBUFFER_ADDRESS + 1024) == 0);
        steal(&back);
        break;
    case MARK_ALL: mark(); break;
    case HAVE_WRITTEN: to_itself(); have_written(); break;
    case PAUSE: pause_here(); break;
    case LEND_STRUCT: lend_struct(); break;
    case TAKE_STRUCT: works(eapp_munmap((void *)struct_of_first, PAGE_SIZE) == 0); break;
    case MOVE_STRUCT: move_struct(); break;
    case LOOK: by_check(registers && is_clear()); break;
    case BELOW: load(EAPP_STACK_TOP - STACK - 8); break;
    }
    SERVER_RETURN(&back);
}

static void has_text(void) { *(volatile char *)KBUFFER_ADDRESS = 'x', *((volatile char *)KBUFFER_ADDRESS + 1) = 0; }

static void first_and_second(uint64_t own, uint64_t size)
{
    struct call_enclave_arg_t arg = {.req_vaddr = own, .req_size = size};

    *(volatile uint64_t *)own = MARK;
    works(call_enclave(acquire_enclave("server"), &arg) == 0); /* so that the servers have page tables there */
    works(call_enclave(acquire_enclave("other"), &arg) == 0 && arg.req_vaddr == own);
    arg.req_arg = board->word[0]++ ? SECOND : FIRST;
    if (arg.req_arg == SECOND && board->round == PAGES)
        arg.req_vaddr = 0; /* all that may come back is an answer */
    if (arg.req_arg == FIRST)
        has_text();
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

    struct call_enclave_arg_t arg = {0};
    long handle = acquire_enclave("server");

    rounds(ROUNDS);
    switch (board->round) {
    case PAGES:
    case PAGES_LENT: first_and_second(touch((uint64_t)eapp_mmap(NULL, SIZE)), SIZE); break;
    case RELAY_PAGES: first_and_second(RELAY_ADDRESS, RELAY_SIZE); break;
    case LEFTOVERS:
        for (int i = 0; i < 4; i++) {
            arg.req_arg = i % 2 ? LOOK : i ? HAVE_WRITTEN : MARK_ALL;
            works(call_enclave(handle, &arg) == 0);
        }
        break;
    case STRUCT:
    case STRUCT_MOVED:
        arg.req_arg = !board->word[0]++ ? LEND_STRUCT : board->round == STRUCT ? TAKE_STRUCT : MOVE_STRUCT;
        if (arg.req_arg == LEND_STRUCT)
            has_text();
        works(call_enclave(handle, &arg) == 0);
        break;
    case GUARD:
        arg.req_arg = BELOW;
        call_enclave(handle, &arg);
    }
    board->word[0] = 0;
    finish();
}
