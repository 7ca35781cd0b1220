/* attack: a server exits instead of returning, calls its caller, itself, or one that waits for it; unmaps the request,
 *         passes it on and returns it; returns when nobody has called
 * stopped by: monitor check
 */
#include "board.h"

#define SIZE (3 * PAGE_SIZE)

enum { EXIT, BACK_TO_CALLER, ITSELF, IN_A_RING, UNMAP, PASS_ON, KEEP, LEND, SPLIT, KINDS, LAST_OF_RING };

static long call(const char *name, uint64_t what, uint64_t address, uint64_t size)
{
    struct call_enclave_arg_t arg = {.req_arg = what, .req_vaddr = address, .req_size = size};

    return call_enclave(acquire_enclave(name), &arg);
}

static void serve(uint64_t what, uint64_t address, uint64_t size)
{
    struct call_enclave_arg_t back = {.req_vaddr = address, .req_size = size};

    switch (what) {
    case EXIT: by_check(enclave_call(CALL_EXIT, 0, 0, 0, 0) == -1UL); break;
    case BACK_TO_CALLER:
        back.req_arg = KEEP;
        by_check(call_enclave(get_caller_id(), &back) == -1);
        break;
    case ITSELF: by_check(call("server", KEEP, address, size) == -2); break;
    case IN_A_RING: works(call("other", LAST_OF_RING, 0, 0) == 0); break;
    case LAST_OF_RING: by_check(call("server", KEEP, 0, 0) == -2 && call("other", KEEP, 0, 0) == -2); break;
    case UNMAP: works(eapp_munmap((void *)address, size) == 0); break;
    case PASS_ON: works(call("other", KEEP, address, size) == 0); break;
    case KEEP: back.req_vaddr = 0; break;
    case LEND: back.req_vaddr = 0, back.resp_vaddr = address, back.resp_size = size; break; /* as if its own */
    case SPLIT: by_check(split_mem_region(address, size, address + PAGE_SIZE) == -1); break;
    }
    SERVER_RETURN(&back);
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    if (is_server())
        serve(args[10], args[11], args[12]);

    struct call_enclave_arg_t arg = {0};
    long handle = acquire_enclave("server");

    rounds(1);
    by_check(enclave_call(CALL_SERVER_RETURN, (uint64_t)&arg, 0, 0, 0) == -1UL);
    for (uint64_t what = 0; what < KINDS; what++) {
        uint64_t own = what == SPLIT ? RELAY_ADDRESS : touch((uint64_t)eapp_mmap(NULL, SIZE));
        uint64_t size = what == SPLIT ? RELAY_SIZE : SIZE;

        arg = (struct call_enclave_arg_t){.req_arg = what, .req_vaddr = own, .req_size = size};
        works(call_enclave(handle, &arg) == 0);
        if (what == UNMAP || what == PASS_ON || what == KEEP || what == LEND)
            by_check(arg.req_vaddr == 0);
        else
            works(arg.req_vaddr == own);
        works(arg.resp_vaddr == 0 || what == LEND);
    }
    finish();
}
