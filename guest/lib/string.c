/* Functions on NUL-terminated text. Short, not fast: enclaves handle little text. */
#include <string.h>

size_t strlen(const char *text)
{
    size_t size = 0;

    while (text[size])
        size++;
    return size;
}

size_t strnlen(const char *text, size_t limit)
{
    size_t size = 0;

    while (size < limit && text[size])
        size++;
    return size;
}

int strcmp(const char *a, const char *b)
{
    for (; *a && *a == *b; a++, b++)
        ;
    return (unsigned char)*a - (unsigned char)*b;
}

int strncmp(const char *a, const char *b, size_t size)
{
    for (; size; size--, a++, b++)
        if (!*a || *a != *b)
            return (unsigned char)*a - (unsigned char)*b;
    return 0;
}

char *strcpy(char *to, const char *from)
{
    return memcpy(to, from, strlen(from) + 1);
}

/* Fills all of to: text, then zeros; no NUL when the text is as long as size. */
char *strncpy(char *to, const char *from, size_t size)
{
    size_t used = strnlen(from, size);

    memcpy(to, from, used);
    memset(to + used, 0, size - used);
    return to;
}

char *strcat(char *to, const char *from)
{
    strcpy(to + strlen(to), from);
    return to;
}

char *strchr(const char *text, int c)
{
    for (; *text != (char)c; text++)
        if (!*text)
            return NULL;
    return (char *)text;
}

char *strrchr(const char *text, int c)
{
    const char *found = NULL;

    for (;; text++) {
        if (*text == (char)c)
            found = text;
        if (!*text)
            return (char *)found;
    }
}

char *strstr(const char *text, const char *part)
{
    size_t size = strlen(part);

    for (;; text++) {
        if (strncmp(text, part, size) == 0)
            return (char *)text;
        if (!*text)
            return NULL;
    }
}
