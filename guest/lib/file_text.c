/* Characters and lines of files. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "file.h"
#include "format.h"
#include "lock.h"

int fgetc(FILE *file)
{
    unsigned char c;

    return fread(&c, 1, 1, file) == 1 ? c : EOF;
}

int getc(FILE *file)
{
    return fgetc(file);
}

int ungetc(int c, FILE *file)
{
    LOCKED;
    if (c == EOF || file->pushed != EOF || !file->can_read)
        return EOF;
    file->pushed = (unsigned char)c;
    file->at_end = false;
    return file->pushed;
}

char *fgets(char *text, int size, FILE *file)
{
    LOCKED;
    int used = 0;

    while (used < size - 1) {
        int c = fgetc(file);

        if (c == EOF)
            break;
        text[used++] = (char)c;
        if (c == '\n')
            break;
    }
    if (size < 1 || (used == 0 && size > 1))
        return NULL;
    text[used] = '\0';
    return text;
}

int fputc(int c, FILE *file)
{
    unsigned char byte = (unsigned char)c;

    return fwrite(&byte, 1, 1, file) == 1 ? byte : EOF;
}

int putc(int c, FILE *file)
{
    return fputc(c, file);
}

int fputs(const char *text, FILE *file)
{
    LOCKED;
    size_t size = strlen(text);

    return fwrite(text, 1, size, file) == size ? 0 : EOF;
}

static void put(void *sink, char c)
{
    fputc(c, sink);
}

int vfprintf(FILE *file, const char *text, va_list args)
{
    LOCKED;
    if (!file->buffer && file->can_write)
        return vprintf(text, args);

    bool failed_before = file->failed;

    file->failed = false;

    int count = format(put, file, text, args);
    int result = file->failed ? EOF : count;

    file->failed |= failed_before;
    return result;
}

int fprintf(FILE *file, const char *text, ...)
{
    va_list args;

    va_start(args, text);
    int count = vfprintf(file, text, args);
    va_end(args);
    return count;
}
