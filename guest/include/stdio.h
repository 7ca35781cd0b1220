/* The part of <stdio.h> that makes sense in an enclave. Every call prints at once: there is no buffer to flush. */
#ifndef PLTVM_STDIO_H
#define PLTVM_STDIO_H

#include <stdarg.h>
#include <stddef.h>

#define EOF (-1)

int printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
int vprintf(const char *format, va_list args);
int snprintf(char *buffer, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
int vsnprintf(char *buffer, size_t size, const char *format, va_list args);
int puts(const char *text);
int putchar(int c);

#endif
