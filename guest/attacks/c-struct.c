/* attack: a server changes its caller's call struct during the call, in memory that they share, or gives that memory up; its
 *         results lie in the memory that it returns
 * stopped by: monitor check
 */
#include "board.h"

#define SIZE (3 * PAGE_SIZE)
#define LIE 0x2000001000UL

enum { CHANGE, DESTROY, INSIDE, KINDS };

static void serve(uint64_t what, uint64_t address, uint64_t size)
{
    struct call_enclave_arg_t back = {.resp_val = 5, .req_vaddr = address, .req_size = size}, *result = &back;
    struct call_enclave_arg_t *theirs = eapp_shm_attach(8);

    works(theirs != NULL);
    *theirs = (struct call_enclave_arg_t){LIE, LIE, LIE, PAGE_SIZE, LIE, PAGE_SIZE}; /* a smaller request, too */
    if (what == CHANGE)
        back.req_size = PAGE_SIZE; /* less than was passed: then it does not go back */
    if (what == DESTROY)
        works(eapp_shm_destroy(8) == 0 && eapp_shm_detach(8) == 0);
    if (what == INSIDE) {
        result = (void *)(address + PAGE_SIZE - 16);
        *result = back;
    }
    SERVER_RETURN(result);
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    if (is_server())
        serve(args[10], args[11], args[12]);

    rounds(1);
    for (uint64_t what = 0; what < KINDS; what++) {
        struct call_enclave_arg_t *arg = eapp_shm_get(8, PAGE_SIZE, 0);
        uint64_t own = (uint64_t)eapp_mmap(NULL, SIZE);

        *arg = (struct call_enclave_arg_t){.req_arg = what, .req_vaddr = own, .req_size = SIZE};
        works(call_enclave(acquire_enclave("server"), arg) == 0);
        by_check(arg->resp_val == 5 && arg->resp_vaddr == 0 && arg->resp_size == 0);
        by_check(arg->req_vaddr == (what == CHANGE ? 0 : own));
        works(eapp_shm_detach(8) == 0);
    }
    finish();
}
