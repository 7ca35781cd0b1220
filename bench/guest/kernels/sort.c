/* Quicksort of 4096 numbers, made anew each round: branches that nothing predicts, loads and stores. */
#include <stdint.h>

#define COUNT 4096
static uint32_t numbers[COUNT];

static void sort(uint32_t *low, uint32_t *high)
{
    while (low < high) {
        uint32_t pivot = low[(high - low) / 2], *i = low - 1, *j = high + 1;
        for (;;) {
            do
                i++;
            while (*i < pivot);
            do
                j--;
            while (*j > pivot);
            if (i >= j)
                break;
            uint32_t swapped = *i;
            *i = *j, *j = swapped;
        }
        sort(low, j);
        low = j + 1;
    }
}

unsigned long kernel(unsigned long rounds)
{
    uint32_t seed = 1, sum = 0;
    for (unsigned long round = 0; round < rounds; round++) {
        for (int i = 0; i < COUNT; i++)
            numbers[i] = seed = seed * 1664525 + 1013904223;
        sort(numbers, numbers + COUNT - 1);
        sum += numbers[COUNT / 2];
        for (int i = 1; i < COUNT; i++)
            sum += numbers[i - 1] > numbers[i];
    }
    return sum >> 7;
}
