/* Product of two 64 x 64 matrices of 64-bit integers: multiplications, strided loads. */
#include <stdint.h>

#define SIZE 64
static uint64_t a[SIZE][SIZE], b[SIZE][SIZE], c[SIZE][SIZE];

unsigned long kernel(unsigned long rounds)
{
    uint64_t sum = 0;
    for (int i = 0; i < SIZE; i++)
        for (int j = 0; j < SIZE; j++)
            a[i][j] = i * 3 + j, b[i][j] = i ^ j;
    for (unsigned long round = 0; round < rounds; round++) {
        for (int i = 0; i < SIZE; i++)
            for (int j = 0; j < SIZE; j++) {
                uint64_t dot = 0;
                for (int k = 0; k < SIZE; k++)
                    dot += a[i][k] * b[k][j];
                c[i][j] = dot;
            }
        a[round % SIZE][0] += c[3][5];
        sum += c[7][9];
    }
    return sum;
}
