/* What comes before the entry function of a program with constructors, or with variables of the thread.
 *
 * It is linked only then, and takes the place of the entry function for start.S: see enclave.ld. A server comes by at
 * every call. Its constructors run at the first; tp has to be set each time, as registers do not last.
 *
 *     tp -> .tdata, .tbss      where they are linked: an enclave is one thread, so nothing is copied
 */
#include <stdlib.h>

extern void (*const __init_array_start[])(void), (*const __init_array_end[])(void);
extern void (*const __fini_array_start[])(void), (*const __fini_array_end[])(void);
extern char __tls_start[];

int __eapp_main(void);
int __eapp_entry(void);

static void finish(void)
{
    for (void (*const *function)(void) = __fini_array_end; function != __fini_array_start;)
        (*--function)();
}

static void begin(void)
{
    static int begun;

    if (begun)
        return;
    begun = 1;
    if (__fini_array_end - __fini_array_start > 0)
        atexit(finish); /* the first, so what programs ask for comes before */
    for (void (*const *function)(void) = __init_array_start; function != __init_array_end; function++)
        (*function)();
}

/* Beside _start, so that the entry functions are alone in their section. */
int __attribute__((section(".text._start"))) __eapp_entry(void)
{
    __asm__ volatile("mv tp, %0" : : "r"(__tls_start));
    begin();
    return __eapp_main();
}
