/* Formatting into a buffer of the program. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "format.h"

struct buffer {
    char *bytes;
    size_t size;
    size_t used; /* counts on past the end: what is too much is cut off */
};

static void put(void *sink, char c)
{
    struct buffer *buffer = sink;

    if (buffer->used + 1 < buffer->size)
        buffer->bytes[buffer->used] = c;
    buffer->used++;
}

int vsnprintf(char *bytes, size_t size, const char *text, va_list args)
{
    struct buffer buffer = {bytes, size, 0};
    int count = format(put, &buffer, text, args);

    if (size > 0)
        bytes[buffer.used < size ? buffer.used : size - 1] = '\0';
    return count;
}

int snprintf(char *bytes, size_t size, const char *text, ...)
{
    va_list args;

    va_start(args, text);
    int count = vsnprintf(bytes, size, text, args);
    va_end(args);
    return count;
}

int vsprintf(char *bytes, const char *text, va_list args)
{
    return vsnprintf(bytes, SIZE_MAX, text, args);
}

int sprintf(char *bytes, const char *text, ...)
{
    va_list args;

    va_start(args, text);
    int count = vsprintf(bytes, text, args);
    va_end(args);
    return count;
}
