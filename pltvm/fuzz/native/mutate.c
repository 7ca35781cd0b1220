/* New inputs from old ones: by whole fields, by whole messages, and by bytes.
 *
 * In C because every execution has a new input. This is fuzz/mutate.py line by line; the functions are described
 * there. One seed gives one sequence of inputs, the same as in Python.
 *
 * A message: u64 argument | u16 size | u8 client | u8 – | size bytes of memory
 */

#include "fuzz/native/mutate.h"
#include "fuzz/native/havoc.h"

enum { HEAD = 12, SIZE_AT = 8, CLIENT_AT = 10, MOST_MEMORY = 0xFFFF };

static int64_t span(const uint8_t *data, int64_t at, int64_t end) {
    if (at + HEAD > end) return end - at;
    int64_t memory = data[at + SIZE_AT] + 256 * data[at + SIZE_AT + 1];
    return least(HEAD + memory, end - at);
}

/* The place after so many messages from `at`, or the end if there are fewer. */
static int64_t seek(const uint8_t *data, int64_t at, int64_t end, int64_t index) {
    for (; index > 0 && at < end; index--) at += span(data, at, end);
    return at;
}

static int64_t messages_in(const uint8_t *data, int64_t at, int64_t end) {
    int64_t count = 0;
    for (; at < end; count++) at += span(data, at, end);
    return count;
}

static void set_size(uint8_t *buffer, int64_t at, int64_t length) {
    buffer[at + SIZE_AT] = (uint8_t)(length - HEAD);
    buffer[at + SIZE_AT + 1] = (uint8_t)((length - HEAD) >> 8);
}

static int64_t tidy(uint8_t *buffer, int64_t size, int64_t limit) {
    int64_t at = 0;
    while (at < size) {
        int64_t length = span(buffer, at, size);
        if (length < HEAD) {
            if (at + HEAD > limit) return at;
            memset(buffer + size, 0, (size_t)(at + HEAD - size));
            size = at + HEAD;
            length = HEAD;
        }
        if (at + length == size) set_size(buffer, at, length);
        at += length;
    }
    return size;
}

static int64_t add_message(const struct stock *stock, uint8_t *buffer, int64_t at, int64_t size,
                           int64_t limit) {
    uint64_t *rng = stock->rng;
    int64_t room = limit - size;
    if (room < HEAD) return size;
    int64_t origin = below(rng, 4); /* 0: this input, 1: another one, else: new */
    struct range from = pick(rng, &stock->corpus);
    if (origin == 0) from = (struct range){0, size};
    const uint8_t *data = origin == 0 ? buffer : stock->corpus.data;
    int64_t source = from.first, length = 0;
    if (origin < 2 && from.first < from.last) {
        int64_t index = below(rng, messages_in(data, from.first, from.last));
        source = seek(data, from.first, from.last, index);
        length = least(span(data, source, from.last), room);
    }
    if (length >= HEAD) {
        move(buffer, at, at + length, size - at);
        copy(data, origin || source < at ? source : source + length, buffer, at, length);
    } else {
        int64_t memory = 0;
        if (room != HEAD && below(rng, 4) != 0) memory = block_length(rng, least(room - HEAD, MOST_MEMORY));
        length = HEAD + memory;
        move(buffer, at, at + length, size - at);
        fill(rng, buffer, at + HEAD, memory);
        memset(buffer + at, 0, HEAD);
        buffer[at] = (uint8_t)below(rng, 17);
        if (below(rng, 4) == 0) change_number(rng, buffer, at, 8);
    }
    set_size(buffer, at, length);
    if (below(rng, 4) == 0) buffer[at + CLIENT_AT] = (uint8_t)below(rng, 4);
    return size + length;
}

static void reverse(uint8_t *buffer, int64_t start, int64_t end) {
    for (end--; start < end; start++, end--) {
        uint8_t byte = buffer[start];
        buffer[start] = buffer[end];
        buffer[end] = byte;
    }
}

static void swap_messages(uint8_t *buffer, int64_t one, int64_t two, int64_t size) {
    int64_t one_length = span(buffer, one, size), two_length = span(buffer, two, size);
    int64_t end = two + two_length;
    reverse(buffer, one, end);
    reverse(buffer, one, one + two_length);
    reverse(buffer, one + two_length, end - one_length);
    reverse(buffer, end - one_length, end);
}

static int64_t resize_message(uint64_t *rng, uint8_t *buffer, int64_t at, int64_t size, int64_t limit) {
    int64_t length = span(buffer, at, size);
    int64_t longest = least(HEAD + MOST_MEMORY, length + limit - size);
    int64_t wanted = HEAD + block_length(rng, longest - HEAD + 1) - 1;
    if (below(rng, 2) == 0) wanted = least(most(length + below(rng, 17) - 8, HEAD), longest);
    move(buffer, at + length, at + wanted, size - at - length);
    if (wanted > length) fill(rng, buffer, at + length, wanted - length);
    set_size(buffer, at, wanted);
    return size + wanted - length;
}

/* The rest from another input, from the border of a message on. */
static int64_t take_rest(const struct stock *stock, uint8_t *buffer, int64_t at, int64_t limit) {
    const uint8_t *data = stock->corpus.data;
    struct range from = pick(stock->rng, &stock->corpus);
    int64_t index = below(stock->rng, messages_in(data, from.first, from.last) + 1);
    int64_t source = seek(data, from.first, from.last, index);
    int64_t count = least(from.last - source, limit - at);
    copy(data, source, buffer, at, count);
    return tidy(buffer, at + count, limit);
}

static int64_t change_messages(const struct stock *stock, uint8_t *buffer, int64_t size, int64_t limit) {
    uint64_t *rng = stock->rng;
    int64_t count = messages_in(buffer, 0, size);
    int64_t op = below(rng, 16);
    if (op < 3 || count == 0) {
        int64_t border = seek(buffer, 0, size, below(rng, count + 1));
        return add_message(stock, buffer, border, size, limit);
    }
    int64_t at = seek(buffer, 0, size, below(rng, count));
    int64_t length = span(buffer, at, size);
    if (op == 3 && count > 1) {
        move(buffer, at + length, at, size - at - length);
        return size - length;
    }
    if (op == 4) {
        int64_t other = seek(buffer, 0, size, below(rng, count));
        if (other != at) swap_messages(buffer, least(at, other), most(at, other), size);
    } else if (op == 5) {
        buffer[at + CLIENT_AT] = (uint8_t)below(rng, 4);
    } else if (op < 8) {
        change_number(rng, buffer, at, 8);
    } else if (op == 8) {
        return resize_message(rng, buffer, at, size, limit);
    } else if (op == 9 && stock->corpus.count > 0) {
        return take_rest(stock, buffer, at, limit);
    } else {
        int64_t longest = least(limit, size + HEAD + MOST_MEMORY - length);
        int64_t after = havoc(stock, buffer, at + HEAD, at + length, size, longest);
        set_size(buffer, at, length + after - size);
        return after;
    }
    return size;
}

static int64_t changed(const struct stock *stock, uint8_t *buffer, int64_t size, int64_t limit,
                       int64_t header, int calls) {
    uint64_t *rng = stock->rng;
    size = least(size, limit);
    int64_t draw = below(rng, 64);
    int stack = draw < 14 ? 1 : draw < 40 ? 2 : draw < 54 ? 4 : draw < 60 ? 8 : draw < 63 ? 16 : 32;
    if (calls && below(rng, 16) > 0) {
        size = tidy(buffer, size, limit);
        for (int i = 0; i < stack; i++) size = change_messages(stock, buffer, size, limit);
        return size;
    }
    header = least(header, limit);
    if (below(rng, 16) == 0) size = crossover(stock, buffer, header, size, limit);
    if (size < header) {
        memset(buffer + size, 0, (size_t)(header - size));
        size = header;
    }
    for (int i = 0; i < stack; i++) {
        if (header > 0 && (header == limit || below(rng, 4) == 0)) change_header(rng, buffer, header);
        else size = havoc(stock, buffer, header, size, size, limit);
    }
    return size;
}

void mutate(struct arena *arena) {
    struct state *state = &arena->state;
    const struct stock stock = {
        .rng = arena->rng,
        .corpus = {arena->corpus, arena->bounds, state->inputs},
        .tokens = {arena->tokens, arena->token_bounds, state->words},
    };
    memcpy(arena->buffer, arena->parent, (size_t)state->parent_size);
    state->size = changed(&stock, arena->buffer, state->parent_size, state->limit, state->header,
                          state->calls != 0);
}
