/* Bytes: makes a text, searches it, copies it, measures and compares the copy. */
#define SIZE 8192
static char text[SIZE + 1], copy[SIZE + 1];

static unsigned long length(const char *s)
{
    const char *end = s;
    while (*end)
        end++;
    return end - s;
}

static unsigned long found(const char *s, const char *word)
{
    unsigned long count = 0;
    for (; *s; s++) {
        const char *a = s, *b = word;
        while (*b && *a == *b)
            a++, b++;
        count += !*b;
    }
    return count;
}

static int differ(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a - *b;
}

unsigned long kernel(unsigned long rounds)
{
    unsigned long sum = 0;
    unsigned seed = 7;
    for (unsigned long round = 0; round < rounds; round++) {
        for (int i = 0; i < SIZE; i++) {
            seed = seed * 1103515245 + 12345;
            text[i] = 'a' + (seed >> 16) % 4;
        }
        for (int i = 0; i <= SIZE; i++)
            copy[i] = text[i];
        sum += found(text, "abca") + length(copy) + differ(text, copy);
    }
    return sum;
}
