/* Runs before the entry function of a program with constructors, or with thread variables.
 *
 * It is linked only then, and takes the place of the entry function for start.S: see enclave.ld. A server comes here at
 * every call. Its constructors run at the first; tp has to be set each time, as registers do not last.
 *
 *     tp -> .tdata, .tbss      where they are linked: an enclave is one thread; but with threads.h a copy of them on
 *                              the stack, as several slots of a concurrent server may be in calls
 */
#include <stdlib.h>
#include <string.h>

#include "lock.h"

extern void (*const __init_array_start[])(void), (*const __init_array_end[])(void);
extern void (*const __fini_array_start[])(void), (*const __fini_array_end[])(void);
extern char __tls_start[], __tls_end[];

int __eapp_main(void);
int __eapp_entry(void);

static void finish(void)
{
    for (void (*const *function)(void) = __fini_array_end; function != __fini_array_start;)
        (*--function)();
}

enum { NOT_YET, IN_PROGRESS, DONE };

static void begin(void)
{
    static unsigned begun;
    unsigned state = NOT_YET;

    if (!__atomic_compare_exchange_n(&begun, &state, IN_PROGRESS, 0, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE)) {
        while (has_slots() && __atomic_load_n(&begun, __ATOMIC_ACQUIRE) != DONE)
            eapp_yield(); /* another slot is at it */
        return;
    }
    if (__fini_array_end - __fini_array_start > 0)
        atexit(finish); /* the first, so what programs ask for comes before */
    for (void (*const *function)(void) = __init_array_start; function != __init_array_end; function++)
        (*function)();
    __atomic_store_n(&begun, DONE, __ATOMIC_RELEASE);
}

/* Beside _start, so that the entry functions are alone in their section. */
int __attribute__((section(".text._start"))) __eapp_entry(void)
{
    char *variables = __tls_start;

    if (has_slots()) {
        size_t size = (size_t)(__tls_end - __tls_start);

        variables = __builtin_alloca_with_align(size + 1, 8 * 64);
        memcpy(variables, __tls_start, size);
    }
    __asm__ volatile("mv tp, %0" : : "r"(variables));
    begin();
    return __eapp_main();
}
