/* What concurrent servers have to do with calls: threads.h. These two are not the original's (docs/interface.md). */
#include "threads.h"
#include "ecall.h"

long call_enclave_wait(unsigned long handle, struct call_enclave_arg_t *arg)
{
    return (long)enclave_call(CALL_CALL_ENCLAVE_WAIT, handle, (unsigned long)arg, 0, 0);
}

unsigned long slot_id(void)
{
    return enclave_call(CALL_SLOT_ID, 0, 0, 0, 0);
}
