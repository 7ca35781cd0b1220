/* Pseudo-random numbers: the same in each run, and not usable for secrets. */
#include <stdint.h>
#include <stdlib.h>

static uint64_t state = 1;

void srand(unsigned seed)
{
    state = seed;
}

int rand(void)
{
    state = state * 6364136223846793005UL + 1442695040888963407UL;
    return (int)(state >> 33);
}
