/* Small changes to bytes: the operations that mutate.c stacks.
 *
 * In C because every execution needs about four of them: in Python they take longer than the execution. This is
 * fuzz/havoc.py line by line; the functions are described there. Draws from `rng` are separate statements, as C
 * does not define the order in which arguments are computed.
 */

#include "fuzz/native/havoc.h"

/* Values that programs often treat specially; those for narrower fields come first. */
static const uint64_t INTERESTING[] = {
    0, 1, 16, 32, 64, 100, 127, -(uint64_t)128, -(uint64_t)1,
    128, 255, 256, 512, 1000, 1024, 4096, 32767, -(uint64_t)32768, -(uint64_t)129,
    32768, 65535, 65536, 100663045, 2147483647, -(uint64_t)2147483648, -(uint64_t)100663046,
    -(uint64_t)32769,
    1ull << 31, (1ull << 32) - 1, 1ull << 32, (1ull << 63) - 1, 1ull << 63, -(1ull << 31) - 1,
    -(uint64_t)4096,
};
static const int64_t INTERESTING_FOR[] = {0, 9, 19, 19, 27, 27, 27, 27, 34}; /* how many, by width */

/* ---- random numbers ---- */

static uint64_t rotate(uint64_t word, int bits) { return word << bits | word >> (64 - bits); }

/* xoshiro256++ */
static uint64_t next64(uint64_t *rng) {
    uint64_t s0 = rng[0], s1 = rng[1], s2 = rng[2] ^ s0, s3 = rng[3] ^ s1;
    uint64_t total = s0 + rng[3];
    rng[0] = s0 ^ s3;
    rng[1] = s1 ^ s2;
    rng[2] = s2 ^ s1 << 17;
    rng[3] = rotate(s3, 45);
    return rotate(total, 23) + s0;
}

int64_t below(uint64_t *rng, int64_t bound) {
    return (int64_t)((next64(rng) >> 32) * (uint64_t)bound >> 32);
}

struct range pick(uint64_t *rng, const struct strings *strings) {
    if (strings->count < 1) return (struct range){0, 0};
    int64_t index = below(rng, strings->count);
    return (struct range){strings->bounds[index], strings->bounds[index + 1]};
}

int64_t block_length(uint64_t *rng, int64_t longest) {
    int64_t how = below(rng, 64);
    int64_t top = how < 32 ? 8 : how < 48 ? 32 : how < 60 ? 64 : how < 63 ? 128 : longest;
    return 1 + below(rng, least(top, longest));
}

/* ---- changes that keep the size ---- */

void fill(uint64_t *rng, uint8_t *buffer, int64_t at, int64_t count) {
    int64_t how = below(rng, 4);
    if (how < 2) {
        int byte = how == 0 ? 0 : (int)below(rng, 256);
        if (count > 0) memset(buffer + at, byte, (size_t)count);
        return;
    }
    uint64_t bits = 0;
    for (int64_t i = 0; i < count; i++) {
        if (!(i & 7)) bits = next64(rng);
        uint64_t byte = bits & 0xFF;
        buffer[at + i] = (uint8_t)(how == 2 ? byte : 32 + (byte * 95 >> 8));
        bits >>= 8;
    }
}

static void write_number(uint8_t *buffer, int64_t at, int64_t width, int64_t flip, uint64_t value) {
    for (int64_t i = 0; i < width; i++, value >>= 8) buffer[at + (i ^ flip)] = (uint8_t)value;
}

void change_number(uint64_t *rng, uint8_t *buffer, int64_t at, int64_t width) {
    int64_t flip = below(rng, 4) == 0 ? width - 1 : 0; /* big endian */
    uint64_t value = 0;
    for (int64_t i = width - 1; i >= 0; i--) value = value << 8 | buffer[at + (i ^ flip)];
    int64_t how = below(rng, 8);
    if (how == 0) value += (uint64_t)(1 + below(rng, 32));
    else if (how == 1) value -= (uint64_t)(1 + below(rng, 32));
    else if (how == 2) value += below(rng, 2) == 0 ? 1 : ~0ull;
    else if (how < 5) value = INTERESTING[below(rng, INTERESTING_FOR[width])];
    else if (how == 5) value = (uint64_t)below(rng, 17);
    else if (how == 6) value ^= 1ull << below(rng, 8 * width);
    else {
        value = next64(rng);
        value >>= below(rng, 64);
    }
    write_number(buffer, at, width, flip, value);
}

void change_header(uint64_t *rng, uint8_t *buffer, int64_t header) {
    int64_t at = 0, width = 1;
    if (header == 16 && below(rng, 4) > 1) {
        at = 4 * below(rng, 2);
        width = 4;
    } else if (header == 16) {
        at = width = 8;
    } else if (header >= 8) {
        at = 8 * below(rng, header / 8);
        width = 8;
    } else {
        at = below(rng, header);
    }
    if (width > 1 && below(rng, 8) == 0) {
        int64_t part = 1 << below(rng, 2);
        at += part * below(rng, width / part);
        width = part;
    }
    change_number(rng, buffer, at, width);
}

static int is_digit(uint8_t byte) { return '0' <= byte && byte <= '9'; }

static void change_digits(uint64_t *rng, uint8_t *buffer, int64_t at, int64_t end) {
    for (int64_t i = at; i < least(at + 16, end); i++) {
        if (is_digit(buffer[i])) {
            at = i;
            break;
        }
    }
    int64_t how = below(rng, 4);
    if (how < 2) buffer[at] = (uint8_t)('0' + below(rng, 10));
    else if (how == 2) buffer[at] = '-';
    else while (at < end && is_digit(buffer[at])) buffer[at++] = '9';
}

static void change_words(uint64_t *rng, uint8_t *buffer, int64_t start, int64_t end) {
    int64_t words = (end - start) / 8;
    int64_t one = start + 8 * below(rng, words);
    int64_t two = start + 8 * below(rng, words);
    int64_t how = below(rng, 4);
    if (how == 0) {
        change_number(rng, buffer, one, 8);
    } else if (how == 1) {
        write_number(buffer, one, 8, 0, (uint64_t)below(rng, end - start + 2));
    } else {
        uint8_t word[8];
        memcpy(word, buffer + one, 8);
        move(buffer, two, one, 8);
        if (how == 2) memcpy(buffer + two, word, 8);
    }
}

/* A length field, for the rest after it or for everything. */
static void write_length(uint64_t *rng, uint8_t *buffer, int64_t start, int64_t end, int64_t width) {
    int64_t length = end - start, at = start;
    if (below(rng, 4) != 0) at = start + below(rng, length - width + 1);
    int64_t rest = below(rng, 4) == 0 ? length : end - at - width;
    rest += most(below(rng, 4) - 1, 0) - 1;
    write_number(buffer, at, width, 0, (uint64_t)rest);
}

static void flip_bit(uint64_t *rng, uint8_t *buffer, int64_t at) { buffer[at] ^= (uint8_t)(1 << below(rng, 8)); }

static void move_block(uint64_t *rng, uint8_t *buffer, int64_t start, int64_t length) {
    int64_t count = block_length(rng, length);
    int64_t source = start + below(rng, length - count + 1);
    int64_t target = start + below(rng, length - count + 1);
    move(buffer, source, target, count);
}

static void take_block(const struct stock *stock, uint8_t *buffer, int64_t at, int64_t end) {
    struct range from = pick(stock->rng, &stock->corpus);
    if (from.first >= from.last) return;
    from.first += below(stock->rng, from.last - from.first);
    int64_t count = block_length(stock->rng, least(from.last - from.first, end - at));
    copy(stock->corpus.data, from.first, buffer, at, count);
}

static void change_in_place(const struct stock *stock, uint8_t *buffer, int64_t start, int64_t end) {
    uint64_t *rng = stock->rng;
    int64_t length = end - start;
    int64_t at = start + below(rng, length);
    int64_t width = 1 << below(rng, 4);
    while (width > length) width >>= 1;
    int64_t op = below(rng, 16);
    if (op < 3) {
        flip_bit(rng, buffer, at);
    } else if (op < 5) {
        buffer[at] = (uint8_t)below(rng, 256);
    } else if (op < 8) {
        at = start + below(rng, length - width + 1);
        change_number(rng, buffer, at, width);
    } else if (op == 8) {
        write_length(rng, buffer, start, end, width);
    } else if (op == 9) {
        change_digits(rng, buffer, at, end);
    } else if (op == 10 && length >= 8) {
        change_words(rng, buffer, start, end);
    } else if (op == 11) {
        fill(rng, buffer, at, block_length(rng, end - at));
    } else if (op == 12) {
        move_block(rng, buffer, start, length);
    } else if (op == 13 && stock->corpus.count > 0) {
        take_block(stock, buffer, at, end);
    } else {
        struct range token = pick(rng, &stock->tokens);
        int64_t count = token.last - token.first;
        if (0 < count && count <= length) {
            copy(stock->tokens.data, token.first, buffer, start + below(rng, length - count + 1), count);
        } else {
            flip_bit(rng, buffer, at);
        }
    }
}

/* ---- changes of the size ---- */

static int64_t grow(const struct stock *stock, uint8_t *buffer, int64_t start, int64_t end, int64_t size,
                    int64_t limit) {
    uint64_t *rng = stock->rng;
    int64_t at = start + below(rng, end - start + 1);
    int64_t op = below(rng, 8), count;
    const struct strings *strings = op < 2 ? &stock->tokens : &stock->corpus;
    struct range from = pick(rng, strings);
    if (op < 4 && from.first < from.last) {
        if (op >= 2) {
            from.first += below(rng, from.last - from.first);
            from.last = from.first + block_length(rng, from.last - from.first);
        }
        count = least(from.last - from.first, limit - size);
        move(buffer, at, at + count, size - at);
        copy(strings->data, from.first, buffer, at, count);
    } else if (op < 6 && start < end) { /* a copy of what is there */
        count = block_length(rng, least(end - start, limit - size));
        int64_t first = start + below(rng, end - start - count + 1);
        if (first < at && at < first + count) at = first + count;
        move(buffer, at, at + count, size - at);
        move(buffer, at <= first ? first + count : first, at, count);
    } else {
        count = block_length(rng, limit - size);
        move(buffer, at, at + count, size - at);
        fill(rng, buffer, at, count);
    }
    return size + count;
}

int64_t havoc(const struct stock *stock, uint8_t *buffer, int64_t start, int64_t end, int64_t size,
              int64_t limit) {
    int64_t op = below(stock->rng, 16);
    if ((op < 4 || start == end) && size < limit) return grow(stock, buffer, start, end, size, limit);
    if (start == end) return size;
    if (op < 7) {
        int64_t count = block_length(stock->rng, end - start);
        int64_t at = start + below(stock->rng, end - start - count + 1);
        move(buffer, at + count, at, size - at - count);
        return size - count;
    }
    change_in_place(stock, buffer, start, end);
    return size;
}

int64_t crossover(const struct stock *stock, uint8_t *buffer, int64_t start, int64_t size, int64_t limit) {
    uint64_t *rng = stock->rng;
    struct range from = pick(rng, &stock->corpus);
    if (from.last - from.first <= start || size <= start) return size;
    int64_t at = start + below(rng, size - start);
    int64_t source = from.first + at; /* mostly the same place */
    if (source >= from.last || below(rng, 4) == 0)
        source = from.first + start + below(rng, from.last - from.first - start);
    int64_t count = least(from.last - source, limit - at);
    copy(stock->corpus.data, source, buffer, at, count);
    return at + count;
}
