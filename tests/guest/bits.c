/* Work that compilers do by Zba, Zbb, Zbs, Zicond and Zcb where a CPU has them: an enclave, or a Linux program.
 *
 * BITS says for which of them the functions here are compiled ("arch=+zba,+zbb"); the output is the same without. */
#include <stdio.h>
#include <string.h>
#ifndef __linux__
#include "eapp.h"
#endif

#ifdef BITS
#pragma clang attribute push(__attribute__((target(BITS))), apply_to = function)
#endif

typedef unsigned long u64;
typedef unsigned int u32;

static u64 state = 88172645463325252UL;

static u64 next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

/* One number, in which all that was worked out has a part. */
static u64 sum;

static void note(u64 value) { sum = (sum << 5 | sum >> 59) + value; }

__attribute__((noinline)) static void counts(u64 a, u64 b)
{
    note(a ? __builtin_clzl(a) : 64);
    note((u32)a ? __builtin_clz((u32)a) : 32);
    note(b ? __builtin_ctzl(b) : 64);
    note((u32)b ? __builtin_ctz((u32)b) : 32);
    note(__builtin_popcountl(a));
    note(__builtin_popcount((u32)b));
}

__attribute__((noinline)) static void shapes(u64 a, u64 b)
{
    int by = b & 63, word_by = b & 31;
    u32 word = (u32)a;

    note(a & ~b);
    note(a | ~b);
    note(~(a ^ b));
    note(a << by | a >> (-by & 63));
    note(a >> by | a << (-by & 63));
    note((long)(int)(word << word_by | word >> (-word_by & 31)));
    note((long)(int)(word >> word_by | word << (-word_by & 31)));
    note(a >> 11 | a << 53);
    note((long)(int)(word >> 7 | word << 25));
    note(__builtin_bswap64(a));
    note(__builtin_bswap32(word));
    note((long)(signed char)a);
    note((long)(short)b);
    note((unsigned short)a);
    note((u64)word << 9);
}

__attribute__((noinline)) static void choices(u64 a, u64 b, u64 c)
{
    note((long)a < (long)b ? a : b);
    note((long)a > (long)b ? a : b);
    note(a < b ? a : b);
    note(a > b ? a : b);
    note(c & 1 ? a : 0);
    note(c & 2 ? 0 : b);
    note(c & 4 ? a : b);
}

__attribute__((noinline)) static void single_bits(u64 a, u64 b)
{
    note(a | 1UL << (b & 63));
    note(a & ~(1UL << (b & 63)));
    note(a ^ 1UL << (b & 63));
    note(a >> (b & 63) & 1);
    note(a | 1UL << 45);
    note(a & ~(1UL << 46));
    note(a ^ 1UL << 47);
    note(a >> 48 & 1);
}

struct mixed { unsigned char bytes[4]; short halves[2]; u32 words[8]; u64 doubles[8]; };

/* Addresses by shift and add, and bytes and half words in memory. */
__attribute__((noinline)) static void memory(struct mixed *m, u64 a, u32 index)
{
    m->bytes[1] = a;
    m->bytes[3] = m->bytes[1] ^ m->bytes[0];
    m->halves[1] = a >> 8;
    m->halves[0] = m->halves[1] + m->bytes[3];
    m->words[index & 7] += m->bytes[2];
    m->doubles[a & 7] ^= m->words[index & 7];
    m->bytes[2] = ~m->bytes[3];
    note(m->doubles[index & 7] * m->words[a & 7]);
    note(m->halves[0]);
    note((unsigned short)m->halves[1]);
    note(((u64 *)m->doubles)[(index * 3) & 7]);
}

__attribute__((noinline)) static u64 text(const char *from)
{
    char copy[64];
    u64 hash = 5381;

    strcpy(copy, from);
    for (char *at = copy; *at; at++)
        hash = hash * 33 ^ (unsigned char)(*at >= 'a' && *at <= 'z' ? *at - 32 : *at);
    return hash + strlen(copy);
}

static void work(void)
{
    static struct mixed mixed;

    for (int round = 1; round <= 400; round++) {
        u64 a = next() >> (round % 7 * 9), b = next(), c = next();

        counts(a, b);
        shapes(a, b);
        choices(a, b, c);
        single_bits(a, b);
        memory(&mixed, a, (u32)c);
        if (round % 50 == 0)
            printf("%d: %016lx %016lx\n", round, sum, text("Zba, Zbb, Zbs, Zicond and Zcb"));
    }
}

#ifdef __linux__
int main(void)
{
    work();
    return 0;
}
#else
int EAPP_ENTRY main()
{
    work();
    EAPP_RETURN(7);
}
#endif

#ifdef BITS
#pragma clang attribute pop
#endif
