/* Random numbers, and small changes to bytes, for mutate.c. */

#ifndef PLTVM_HAVOC_H
#define PLTVM_HAVOC_H

#include "engine/native/api.h"

/* Byte strings end to end: number i is data[bounds[i] … bounds[i + 1]). */
struct strings {
    const uint8_t *data;
    const int64_t *bounds;
    int64_t count;
};

/* What a mutation takes bytes from. */
struct stock {
    uint64_t *rng;
    struct strings corpus;
    struct strings tokens;
};

struct range {
    int64_t first, last;    /* last: behind it */
};

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* The two places may overlap; nothing is done for a count below 1. */
static inline void move(uint8_t *buffer, int64_t source, int64_t target, int64_t count) {
    if (count > 0) memmove(buffer + target, buffer + source, (size_t)count);
}

static inline void copy(const uint8_t *data, int64_t source, uint8_t *buffer, int64_t target, int64_t count) {
    if (count > 0) memmove(buffer + target, data + source, (size_t)count);
}

int64_t below(uint64_t *rng, int64_t bound);
struct range pick(uint64_t *rng, const struct strings *strings);
int64_t block_length(uint64_t *rng, int64_t longest);
void fill(uint64_t *rng, uint8_t *buffer, int64_t at, int64_t count);
void change_number(uint64_t *rng, uint8_t *buffer, int64_t at, int64_t width);
void change_header(uint64_t *rng, uint8_t *buffer, int64_t header);
int64_t havoc(const struct stock *stock, uint8_t *buffer, int64_t start, int64_t end, int64_t size,
              int64_t limit);
int64_t crossover(const struct stock *stock, uint8_t *buffer, int64_t start, int64_t size, int64_t limit);

#endif
