/* A floating point number as printf shows it, by musl's printf: what format.c calls in programs that print some.
 *
 * Compiled with musl's own headers. All that is written to its FILE goes to a function of ours; locks, wide characters
 * and the like are linked along, and never used.
 */
#include <stdarg.h>
#include <stddef.h>

#include "stdio_impl.h"

struct sink {
    void (*put)(void *sink, char c);
    void *sink;
};

/* text is one conversion with two * for width and precision. */
int __print_float(void (*put)(void *sink, char c), void *to, const char *text, ...)
{
    unsigned char unused[1];
    struct sink sink = {put, to};
    FILE file = {.lock = -1, .buf = unused, .buf_size = 1, .wend = unused, .cookie = &sink};
    va_list args;

    va_start(args, text);
    int count = vfprintf(&file, text, args); /* __musl_vfprintf */
    va_end(args);
    return count;
}

size_t __fwritex(const unsigned char *restrict bytes, size_t size, FILE *restrict file)
{
    struct sink *to = file->cookie;

    for (size_t i = 0; i < size; i++)
        to->put(to->sink, (char)bytes[i]);
    return size;
}

int __towrite(FILE *file)
{
    (void)file;
    return 0;
}

int __lockfile(FILE *file)
{
    (void)file;
    return 0;
}

void __unlockfile(FILE *file)
{
    (void)file;
}

int wctomb(char *bytes, wchar_t c) /* __musl_wctomb */
{
    (void)bytes;
    (void)c;
    return -1;
}
