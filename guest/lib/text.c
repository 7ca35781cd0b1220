/* Taking text apart, copying it, and comparing it without regard to case. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

char *strncat(char *to, const char *from, size_t size)
{
    char *end = to + strlen(to);
    size_t used = strnlen(from, size);

    memcpy(end, from, used);
    end[used] = '\0';
    return to;
}

size_t strspn(const char *text, const char *accepted)
{
    size_t size = 0;

    while (text[size] && strchr(accepted, text[size]))
        size++;
    return size;
}

size_t strcspn(const char *text, const char *rejected)
{
    size_t size = 0;

    while (text[size] && !strchr(rejected, text[size]))
        size++;
    return size;
}

char *strpbrk(const char *text, const char *wanted)
{
    text += strcspn(text, wanted);
    return *text ? (char *)text : NULL;
}

char *strtok_r(char *text, const char *separators, char **rest)
{
    if (!text)
        text = *rest;
    text += strspn(text, separators);

    char *end = text + strcspn(text, separators);

    *rest = *end ? end + 1 : end;
    if (end == text)
        return NULL;
    *end = '\0';
    return text;
}

char *strtok(char *text, const char *separators)
{
    static char *rest = "";

    return strtok_r(text, separators, &rest);
}

char *strndup(const char *text, size_t size)
{
    size_t used = strnlen(text, size);
    char *copy = malloc(used + 1);

    if (copy) {
        memcpy(copy, text, used);
        copy[used] = '\0';
    }
    return copy;
}

char *strdup(const char *text)
{
    return strndup(text, strlen(text));
}

int strncasecmp(const char *a, const char *b, size_t size)
{
    for (; size; size--, a++, b++) {
        int difference = tolower((unsigned char)*a) - tolower((unsigned char)*b);

        if (difference || !*a)
            return difference;
    }
    return 0;
}

int strcasecmp(const char *a, const char *b)
{
    return strncasecmp(a, b, (size_t)-1);
}
