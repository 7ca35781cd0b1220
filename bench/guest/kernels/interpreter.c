/* A byte-code machine that looks for primes: a load, an indirect jump and little else for each instruction. */
#include <stdint.h>

enum { LOAD, MOVE, ADD, REMAINDER, JUMP_ZERO, JUMP_LESS, JUMP, HALT };
struct instruction {
    uint8_t code, a, b, target;
};
/* r0 number, r1 divisor, r2 primes, r3 remainder, r4 limit, r5 one, r6 square */
static const struct instruction program[] = {
    {LOAD, 0, 2, 0},       {LOAD, 2, 0, 0},      {LOAD, 5, 1, 0},
    {LOAD, 1, 2, 0},                             /* 3: next number */
    {JUMP_LESS, 1, 0, 7},  {ADD, 2, 5, 0},       {JUMP, 0, 0, 11},
    {MOVE, 3, 0, 0},                             /* 7: try the divisor */
    {REMAINDER, 3, 1, 0},  {JUMP_ZERO, 3, 0, 11}, {JUMP, 0, 0, 14},
    {ADD, 0, 5, 0},                              /* 11: done with the number */
    {JUMP_LESS, 0, 4, 3},  {HALT, 0, 0, 0},
    {ADD, 1, 5, 0},        {JUMP, 0, 0, 4},      /* 14: next divisor */
};

static uint64_t run(uint64_t limit)
{
    uint64_t r[8] = {0};
    const struct instruction *pc = program;
    r[4] = limit;
    for (;;) {
        const struct instruction *i = pc++;
        switch (i->code) {
        case LOAD: r[i->a] = i->b; break;
        case MOVE: r[i->a] = r[i->b]; break;
        case ADD: r[i->a] += r[i->b]; break;
        case REMAINDER: r[i->a] %= r[i->b]; break;
        case JUMP_ZERO: if (!r[i->a]) pc = program + i->target; break;
        case JUMP_LESS: if (r[i->a] < r[i->b]) pc = program + i->target; break;
        case JUMP: pc = program + i->target; break;
        case HALT: return r[2];
        }
    }
}

unsigned long kernel(unsigned long rounds)
{
    uint64_t sum = 0;
    for (unsigned long round = 0; round < rounds; round++)
        sum += run(300 + round % 8);
    return sum;
}
