/* Printing: text goes into the kbuffer, the page shared with the host, and an ocall makes the host print it.
 *
 * The host prints at most 511 bytes up to the NUL, so a longer text takes several ocalls. A NUL in the text itself
 * (from "%c") would hide what follows it and is left out.
 */
#include "print.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "ecall.h"
#include "format.h"
#include "print_bytes.h"

#define KBUFFER ((volatile char *)0xffffffe000000000UL)
#define KBUFFER_TEXT 511

struct printer {
    size_t used;
};

static void flush(struct printer *printer)
{
    if (printer->used == 0)
        return;
    KBUFFER[printer->used] = '\0';
    ocall(OCALL_WRITE, 0, 0, 0);
    printer->used = 0;
}

static void put(void *sink, char c)
{
    struct printer *printer = sink;

    if (c == '\0')
        return;
    KBUFFER[printer->used++] = c;
    if (printer->used == KBUFFER_TEXT)
        flush(printer);
}

void print_bytes(const char *bytes, size_t size)
{
    struct printer printer = {0};

    for (size_t i = 0; i < size; i++)
        put(&printer, bytes[i]);
    flush(&printer);
}

int vprintf(const char *text, va_list args)
{
    struct printer printer = {0};
    int count = format(put, &printer, text, args);

    flush(&printer);
    return count;
}

int printf(const char *text, ...)
{
    va_list args;

    va_start(args, text);
    int count = vprintf(text, args);
    va_end(args);
    return count;
}

int eapp_print(const char *text, ...)
{
    va_list args;

    va_start(args, text);
    int count = vprintf(text, args);
    va_end(args);
    return count;
}

int puts(const char *text)
{
    return printf("%s\n", text);
}

int putchar(int c)
{
    printf("%c", c);
    return (unsigned char)c;
}
