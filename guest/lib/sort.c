/* qsort and bsearch. Heap sort: in place, without recursion, and never slower than n log n. */
#include <stdlib.h>

typedef int comparison(const void *, const void *);

static void swap(unsigned char *a, unsigned char *b, size_t size)
{
    for (; size; size--, a++, b++) {
        unsigned char kept = *a;

        *a = *b;
        *b = kept;
    }
}

/* Lets the element at root sink until both elements below it are smaller. */
static void sink(unsigned char *array, size_t root, size_t count, size_t size, comparison *compare)
{
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && compare(array + child * size, array + (child + 1) * size) < 0)
            child++;
        if (compare(array + root * size, array + child * size) >= 0)
            return;
        swap(array + root * size, array + child * size, size);
    }
}

void qsort(void *memory, size_t count, size_t size, comparison *compare)
{
    unsigned char *array = memory;

    for (size_t root = count / 2; root-- > 0;)
        sink(array, root, count, size, compare);
    while (count > 1) {
        count--;
        swap(array, array + count * size, size);
        sink(array, 0, count, size, compare);
    }
}

void *bsearch(const void *key, const void *memory, size_t count, size_t size, comparison *compare)
{
    const unsigned char *array = memory;

    while (count) {
        const unsigned char *middle = array + count / 2 * size;
        int order = compare(key, middle);

        if (order == 0)
            return (void *)middle;
        if (order > 0) {
            array = middle + size;
            count -= count / 2 + 1;
        } else {
            count /= 2;
        }
    }
    return NULL;
}
