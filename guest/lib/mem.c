/* memcpy and its family. Eight bytes at a time where both sides are aligned, as enclaves mostly move whole pages.
 *
 * Build with -ffreestanding or -fno-builtin: otherwise the compiler sees that the loop in memcpy is a memcpy, and
 * calls it.
 */
#include <stdint.h>
#include <string.h>

typedef uint64_t __attribute__((may_alias)) word;

static int both_aligned(const void *a, const void *b)
{
    return (((uintptr_t)a | (uintptr_t)b) & (sizeof(word) - 1)) == 0;
}

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    unsigned char *d = to;
    const unsigned char *s = from;

    if (both_aligned(d, s))
        for (; size >= sizeof(word); size -= sizeof(word), d += sizeof(word), s += sizeof(word))
            *(word *)d = *(const word *)s;
    while (size--)
        *d++ = *s++;
    return to;
}

void *memmove(void *to, const void *from, size_t size)
{
    unsigned char *d = to;
    const unsigned char *s = from;

    if ((uintptr_t)d - (uintptr_t)s >= size) { /* to is not inside from: forwards never overwrites what is to come */
        if (both_aligned(d, s))
            for (; size >= sizeof(word); size -= sizeof(word), d += sizeof(word), s += sizeof(word))
                *(word *)d = *(const word *)s;
        while (size--)
            *d++ = *s++;
    } else {
        if (both_aligned(d + size, s + size))
            for (; size >= sizeof(word); size -= sizeof(word))
                *(word *)(d + size - sizeof(word)) = *(const word *)(s + size - sizeof(word));
        while (size--)
            d[size] = s[size];
    }
    return to;
}

void *memset(void *memory, int value, size_t size)
{
    unsigned char *d = memory;
    word pattern = (unsigned char)value * 0x0101010101010101UL;

    if (both_aligned(d, d))
        for (; size >= sizeof(word); size -= sizeof(word), d += sizeof(word))
            *(word *)d = pattern;
    while (size--)
        *d++ = (unsigned char)value;
    return memory;
}

int memcmp(const void *a, const void *b, size_t size)
{
    const unsigned char *x = a, *y = b;

    for (; size; size--, x++, y++)
        if (*x != *y)
            return *x - *y;
    return 0;
}

void *memchr(const void *memory, int value, size_t size)
{
    const unsigned char *at = memory;

    for (; size; size--, at++)
        if (*at == (unsigned char)value)
            return (void *)at;
    return NULL;
}
