/* attack: a slot keeps what it was passed, and gives it back besides: as its answer, to the next client, to another server; uses
 *         it after that; claims it for later calls of the slot; and its client uses what was kept
 * stopped by: monitor check, page table
 */
#include "board.h"

#define SIZE (3 * PAGE_SIZE)

enum { CLIENT_USES = 1, TWICE, TO_THE_NEXT, TO_ANOTHER, AFTER_ITS_CALL, ROUNDS = AFTER_ITS_CALL };
enum { KEEP, RETURN_TWICE, RETURN_KEPT, RETURN_AND_USE, PASS_ON, USE, PAUSE, UNMAP, GIVE };

#define kept board->word[0]
#define second_is_here board->word[1]
#define answer board->word[2] /* what a slot that is in a call has got of another server */

static void serve(uint64_t what, uint64_t address)
{
    struct call_enclave_arg_t back = {.req_vaddr = address, .req_size = SIZE}, on = {.req_arg = KEEP};

    switch (what) {
    case KEEP: kept = address, back.req_vaddr = 0; break;
    case RETURN_TWICE: back.resp_vaddr = address, back.resp_size = SIZE; break;
    case RETURN_KEPT: back.resp_vaddr = kept, back.resp_size = SIZE; break;
    case PASS_ON:
        on.req_vaddr = address, on.req_size = SIZE;
        works(call_enclave(acquire_enclave("other"), &on) == 0);
        by_check(on.req_vaddr == 0 && call_enclave(acquire_enclave("other"), &on) == 0 && on.resp_vaddr == 0);
        back.resp_vaddr = address, back.resp_size = SIZE;
        kept = address;
        break;
    case USE: load(kept); break;
    case GIVE: back.resp_vaddr = (uint64_t)eapp_mmap(NULL, SIZE), back.resp_size = SIZE; break;
    case PAUSE:
        on.req_arg = GIVE;
        works(call_enclave(acquire_enclave("other"), &on) == 0);
        answer = on.resp_vaddr;
        enclave_call(CALL_OCALL, OCALL_WRITE, 0, 0, 0); /* the second one runs */
        works(eapp_munmap((void *)kept, SIZE) == 0);
        break;
    case UNMAP:
        works(eapp_munmap((void *)kept, SIZE) == 0);
        works(eapp_munmap((void *)answer, SIZE) == 0); /* this was not passed by who called */
        break;
    }
    SERVER_RETURN(&back);
}

static struct call_enclave_arg_t call(uint64_t what, uint64_t address)
{
    struct call_enclave_arg_t arg = {.req_arg = what, .req_vaddr = address, .req_size = SIZE};

    works(call_enclave(acquire_enclave("server"), &arg) == 0);
    return arg;
}

/* The slot that it was passed to is in no call any more, or in a later one: the other one can give it away. */
static void after_its_call(uint64_t own)
{
    if (second_is_here++) {
        call(UNMAP, 0);
        by_check(call(KEEP, own).req_vaddr == 0);
        return;
    }
    by_check(call(KEEP, own).req_vaddr == 0);
    *(volatile char *)KBUFFER_ADDRESS = 'x', *((volatile char *)KBUFFER_ADDRESS + 1) = 0;
    call(PAUSE, 0);
    second_is_here = 0;
    call(USE, 0);
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    if (is_server())
        serve(args[10], args[11]);

    struct call_enclave_arg_t arg;
    uint64_t own = touch((uint64_t)eapp_mmap(NULL, SIZE));

    rounds(ROUNDS);
    switch (board->round) {
    case CLIENT_USES:
        arg = call(KEEP, own);
        by_check(arg.req_vaddr == 0 && arg.resp_vaddr == 0);
        load(own);
        break;
    case TWICE:
        arg = call(RETURN_TWICE, own);
        works(arg.req_vaddr == own);
        by_check(arg.resp_vaddr == 0 && arg.resp_size == 0);
        works(touch(own) == own);
        break;
    case TO_THE_NEXT:
        call(KEEP, own);
        arg = call(RETURN_KEPT, 0);
        works(arg.resp_vaddr && *(volatile uint64_t *)arg.resp_vaddr == own);
        arg = call(RETURN_KEPT, 0);
        by_check(arg.resp_vaddr == 0);
        call(USE, 0);
        break;
    case TO_ANOTHER:
        arg = call(PASS_ON, own);
        by_check(arg.req_vaddr == 0 && arg.resp_vaddr == 0);
        call(USE, 0);
        break;
    case AFTER_ITS_CALL: after_its_call(own);
    }
    finish();
}
