/* attack: a caller uses what it has passed to a server that keeps it or sends it on; a server uses what it has returned;
 *         it looks for its caller's memory, and for the kbuffer of a chain that is over, and of one that waits
 * stopped by: page table, monitor check
 */
#include "board.h"

#define SIZE (3 * PAGE_SIZE)
#define MARK 0x1dea1dea1dea1deaUL
#define OF_KBUFFER (((volatile uint64_t *)KBUFFER_ADDRESS)[1])
#define MEANWHILE board->word[1] /* another chain waits in the server "other" */

enum { KEEP, GIVE, RETURN, LOOK_BACK, SEND_ON, LOOK_INTO_CALLER, KBUFFER, PAUSE };

static void serve(unsigned long *args)
{
    static uint64_t before;
    uint64_t what = args[10], address = args[11], size = args[12];
    struct call_enclave_arg_t back = {0};

    switch (what) {
    case KEEP: before = touch(address); break;
    case SEND_ON:
        back.req_vaddr = address, back.req_size = size;
        works(asyn_enclave_call("nobody", &back) == 0);
        break;
    case GIVE:
        before = touch((uint64_t)eapp_mmap(NULL, SIZE));
        back.resp_vaddr = before, back.resp_size = SIZE;
        break;
    case RETURN:
        before = touch(address);
        back.req_vaddr = address, back.req_size = size;
        break;
    case LOOK_BACK: load(before); break;
    case LOOK_INTO_CALLER: load(board->word[0]); break;
    case KBUFFER:
        by_check(OF_KBUFFER == (MEANWHILE ? MARK + 1 : board->round == 9 ? MARK : 0));
        break;
    case PAUSE:
        by_check(OF_KBUFFER == MARK);
        MEANWHILE = 1;
        *(volatile uint64_t *)KBUFFER_ADDRESS = '!';
        ocall(OCALL_WRITE, 0, 0, 0);
        by_check(OF_KBUFFER == MARK);
        break;
    }
    SERVER_RETURN(&back);
}

static uint64_t call(uint64_t what, uint64_t address, uint64_t size)
{
    struct call_enclave_arg_t arg = {.req_arg = what, .req_vaddr = address, .req_size = size};

    works(call_enclave(acquire_enclave(what == PAUSE ? "other" : "server"), &arg) == 0);
    return what == GIVE ? arg.resp_vaddr : arg.req_vaddr;
}

static void second(void) /* while the first waits in the server "other" */
{
    struct call_enclave_arg_t arg = {.req_arg = PAUSE};

    by_check(OF_KBUFFER == 0);
    OF_KBUFFER = MARK + 1;
    by_check(call_enclave(acquire_enclave("other"), &arg) == -2);
    call(KBUFFER, 0, 0);
    by_check(OF_KBUFFER == MARK + 1);
    finish();
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    if (is_server())
        serve(args);

    if (MEANWHILE)
        second();

    uint64_t own = touch((uint64_t)eapp_mmap(NULL, SIZE));

    rounds(11);
    switch (board->round) {
    case 1:
        board->word[0] = own;
        call(LOOK_INTO_CALLER, 0, 0);
        break;
    case 2: works(call(KEEP, own, SIZE) == 0); load(own); break;
    case 3: works(call(KEEP, own, SIZE) == 0); store(own + PAGE_SIZE); break;
    case 4: works(call(SEND_ON, touch(RELAY_ADDRESS), PAGE_SIZE) == 0); load(RELAY_ADDRESS + PAGE_SIZE); break;
    case 5: works(call(KEEP, touch(RELAY_ADDRESS), RELAY_SIZE) == 0); load(RELAY_ADDRESS); break;
    case 6: works(call(KEEP, own + PAGE_SIZE, PAGE_SIZE) == 0); load(own); break; /* a part takes all of it along */
    case 7: works(call(GIVE, 0, 0) != 0); call(LOOK_BACK, 0, 0); break;
    case 8: works(call(RETURN, own, SIZE) == own); call(LOOK_BACK, 0, 0); break;
    case 9: OF_KBUFFER = MARK; call(KBUFFER, 0, 0); finish();
    case 10: call(KBUFFER, 0, 0); finish();
    case 11: OF_KBUFFER = MARK; call(PAUSE, 0, 0); by_check(OF_KBUFFER == MARK); finish();
    }
    EAPP_RETURN(1);
}
