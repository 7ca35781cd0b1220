/* Ends a program for checks in the headers of libc++, and for functions that would throw. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void verbose_abort(const char *text, ...) __asm__("_ZNSt3__122__libcpp_verbose_abortEPKcz");

void verbose_abort(const char *text, ...)
{
    va_list args;

    va_start(args, text);
    vprintf(text, args);
    va_end(args);
    printf("\n");
    abort();
}
