/* Ways to end: exit with a value, or stop on a breakpoint that the host reports as a fault. */
#include <stdlib.h>

#include "eapp.h"
#include "ecall.h"
#include "lock.h"
#include "print_bytes.h"

#define MOST_FUNCTIONS 32

void (*flush_at_end)(void);

static void (*at_exit[MOST_FUNCTIONS])(void);
static int functions;

int atexit(void (*function)(void))
{
    LOCKED;
    if (functions == MOST_FUNCTIONS)
        return -1;
    at_exit[functions++] = function;
    return 0;
}

void abort(void)
{
    for (;;)
        __asm__ volatile("ebreak");
}

static void __attribute__((noreturn)) leave(unsigned long value)
{
    enclave_call(CALL_EXIT, value, 0, 0, 0);
    abort(); /* refused: a server must end with SERVER_RETURN */
}

void eapp_return(unsigned long value)
{
    while (functions > 0)
        at_exit[--functions]();
    if (flush_at_end)
        flush_at_end();
    leave(value);
}

void server_return(struct call_enclave_arg_t *arg)
{
    if (flush_at_end)
        flush_at_end();
    enclave_call(CALL_SERVER_RETURN, (unsigned long)arg, 0, 0, 0);
    abort(); /* refused: nobody called */
}

void exit(int status)
{
    eapp_return((unsigned long)status);
}

void _Exit(int status)
{
    leave((unsigned long)status);
}

char *getenv(const char *name)
{
    (void)name;
    return NULL;
}
