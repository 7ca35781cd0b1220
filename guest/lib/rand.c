/* Pseudo-random numbers: the same from run to run, and good for no secret. */
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
