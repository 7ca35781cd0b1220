/* Printing: text goes into the kbuffer, the page shared with the host, and an ocall makes the host print it.
 *
 * The host takes at most 511 bytes up to the NUL, as one message, and ends each message with a newline. So stdout is
 * line buffered: what does not end in a newline yet waits for the rest of its line, for fflush, or for the end of the
 * program. Longer text takes several messages, cut behind a newline where there is one. A NUL in the text itself
 * (from "%c") would hide what follows it and is left out.
 */
#include "print.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "ecall.h"
#include "format.h"
#include "lock.h"
#include "print_bytes.h"

#define KBUFFER ((volatile char *)0xffffffe000000000UL)
#define KBUFFER_TEXT 511

static char waiting[KBUFFER_TEXT];
static size_t used;

/* Has the host print the first `size` bytes. */
static void send(size_t size)
{
    if (size == 0)
        return;
    for (size_t i = 0; i < size; i++)
        KBUFFER[i] = waiting[i];
    KBUFFER[size] = '\0';
    ocall(OCALL_WRITE, 0, 0, 0);
    used -= size;
    memmove(waiting, waiting + size, used);
}

/* How many of the bytes are whole lines. */
static size_t lines(void)
{
    size_t size = used;

    while (size > 0 && waiting[size - 1] != '\n')
        size--;
    return size;
}

static void put(void *sink, char c)
{
    (void)sink;
    if (c == '\0')
        return;
    if (used == KBUFFER_TEXT)
        send(lines() ? lines() : used);
    waiting[used++] = c;
    flush_at_end = print_waiting;
}

void print_waiting(void)
{
    LOCKED;
    send(used);
}

void print_bytes(const char *bytes, size_t size)
{
    LOCKED;
    for (size_t i = 0; i < size; i++)
        put(NULL, bytes[i]);
    send(lines());
}

/* Whole lines are sent, and with `all` the rest too. */
static inline int print(const char *text, va_list args, int all)
{
    LOCKED;
    int count = format(put, NULL, text, args);

    send(all ? used : lines());
    return count;
}

int vprintf(const char *text, va_list args)
{
    return print(text, args, 0);
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
    int count = print(text, args, 1);
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
