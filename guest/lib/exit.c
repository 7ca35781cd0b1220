/* Ways to end: exit with a value, or stop on a breakpoint that the host reports as a fault. */
#include <stdlib.h>

#include "eapp.h"
#include "ecall.h"

void abort(void)
{
    for (;;)
        __asm__ volatile("ebreak");
}

void eapp_return(unsigned long value)
{
    enclave_call(CALL_EXIT, value, 0, 0, 0);
    abort(); /* refused: a server must end with SERVER_RETURN */
}

void server_return(struct call_enclave_arg_t *arg)
{
    enclave_call(CALL_SERVER_RETURN, (unsigned long)arg, 0, 0, 0);
    abort(); /* refused: nobody called */
}

void exit(int status)
{
    eapp_return((unsigned long)status);
}
