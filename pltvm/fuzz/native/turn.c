/* The steps of the fuzzing loop: for every block of code that runs, and for every execution.
 *
 *   block hook   counts edges, and blocks down to the end of the budget
 *   turn         new edges?  clear the map; copy back the pages that the run has written;
 *                mutate the parent input; put the result where the enclave reads it
 *
 * In C because the block hook is called a million times a second, and an execution takes less time than ten
 * lines of Python. This is fuzz/turn.py line by line; the functions are described there.
 */

#include "engine/native/api.h"
#include "fuzz/arena.h"
#include "fuzz/native/mutate.h"
#include "fuzz/native/turn.h"

#define GOLDEN 0x9E3779B97F4A7C15u

enum { PAGE = 4096, ACCESSED = 1 << 6, DIRTY = 1 << 7 };

#define PPN_MASK (((1ull << 44) - 1) << 10)

API void pltvm_fuzz_block(void *engine, uint64_t pc, uint32_t size, struct arena *arena) {
    (void)size;
    struct state *state = &arena->state;
    if (--state->budget < 0) {
        ((int (*)(void *))(uintptr_t)state->stop)(engine);
        return;
    }
    int64_t here = (int64_t)((pc >> 1) * 0x9E3779B1u >> 12 & 0xFFFF);
    int64_t edge = state->region + (here ^ state->previous);
    state->previous = here >> 1;
    uint8_t count = arena->map[edge];
    if (count == 0) arena->touched[state->taken++] = (uint32_t)edge;
    if (count != 255) arena->map[edge] = (uint8_t)(count + 1);
}

API void pltvm_fuzz_block_looked_at(void *engine, uint64_t pc, uint32_t size, struct arena *arena) {
    struct state *state = &arena->state;
    uint64_t again = state->again;
    state->begun = pc;
    state->begun_size = size;
    state->again = 0;
    if (pc != again) pltvm_fuzz_block(engine, pc, size, arena);
}

/* AFL's classes of how often an edge was taken, as one bit. */
static uint8_t class_of(uint8_t count) {
    if (count < 4) return (uint8_t)(count == 3 ? 4 : count);
    return (uint8_t)(8 << ((count >= 8) + (count >= 16) + (count >= 32) + (count >= 128)));
}

API int pltvm_fuzz_classify(struct arena *arena, int keep) {
    struct state *state = &arena->state;
    int new = 0;
    uint64_t path = 0, set = 0;
    for (int64_t i = 0; i < state->taken; i++) {
        uint64_t edge = arena->touched[i];
        uint8_t kind = class_of(arena->map[edge]), seen = arena->seen[edge];
        arena->map[edge] = 0;
        path += (edge * 256 + kind) * GOLDEN;
        if (edge < FEATURES) set += (edge + 1) * GOLDEN;
        if (!(kind & ~seen)) continue;
        if (new < 2) new = seen || edge >= FEATURES ? 1 : 2;
        if (keep) {
            state->edges += !seen;
            arena->seen[edge] = seen | kind;
        }
    }
    state->taken = state->previous = 0;
    state->path = (int64_t)(path >> 1);
    state->set = (int64_t)(set >> 1);
    return new;
}

static int64_t mix(int64_t one, int64_t two) {
    uint64_t value = (uint64_t)one * GOLDEN + (uint64_t)two + 1;
    return (int64_t)((value ^ value >> 32) >> 1);
}

API void pltvm_fuzz_part(struct arena *arena, int64_t client, int keep) {
    struct state *state = &arena->state;
    int new = pltvm_fuzz_classify(arena, keep);
    if (new > state->part_new) state->part_new = new;
    state->part_path = mix(state->part_path, state->path);
    int64_t kind = mix(client, state->set), edge = FEATURES + mix(state->kind, kind) % MOST_FEATURES;
    if (!arena->map[edge]) arena->touched[state->taken++] = (uint32_t)edge;
    if (arena->map[edge] != 255) arena->map[edge]++;
    state->kind = kind;
}

API void pltvm_fuzz_restore(struct arena *arena) {
    struct state *state = &arena->state;
    uint8_t *ram = (uint8_t *)(uintptr_t)state->ram;
    const uint8_t *copy = (const uint8_t *)(uintptr_t)state->copy;
    uint64_t *words = (uint64_t *)(uintptr_t)state->ram;
    int64_t dirty = 0;
    for (int64_t i = 0; i < state->watched; i++) {
        uint64_t now = words[arena->slots[i]], before = arena->entries[i];
        if (!((now ^ before) & ~(uint64_t)ACCESSED)) continue;
        words[arena->slots[i]] = before;
        if (now & DIRTY) {
            uint64_t page = ((before & PPN_MASK) << 2) - state->base;
            memcpy(ram + page, copy + page, PAGE);
            dirty++;
        }
    }
    state->dirty = dirty;
}

API int pltvm_fuzz_deeper(struct arena *arena, int keep) {
    struct state *state = &arena->state;
    int64_t pages = state->dirty < MOST_PAGES ? state->dirty : MOST_PAGES;
    state->path ^= pages << 40;
    uint8_t *seen = &arena->seen[MAP_SIZE - 1 - pages];
    if (*seen) return 0;
    if (keep) *seen = 1;
    return 1;
}

API void pltvm_fuzz_place(struct arena *arena) {
    struct state *state = &arena->state;
    if (state->skip) {
        int64_t last = state->size < state->skip ? state->size : state->skip;
        state->argument = 0;
        while (last-- > 0) state->argument = state->argument << 8 | arena->buffer[last];
    }
    if (!state->place) return;
    uint8_t *room = (uint8_t *)(uintptr_t)state->ram + state->place;
    const uint8_t *before = (const uint8_t *)(uintptr_t)state->copy + state->place;
    int64_t count = state->size - state->skip;
    if (count > state->room) count = state->room;
    if (count < 0) count = 0;
    memcpy(room, arena->buffer + state->skip, (size_t)count);
    if (count < state->placed) memcpy(room + count, before + count, (size_t)(state->placed - count));
    state->placed = count;
}

API void pltvm_fuzz_advance(struct arena *arena) {
    mutate(arena);
    pltvm_fuzz_place(arena);
}

API int pltvm_fuzz_turn(struct arena *arena) {
    struct state *state = &arena->state;
    state->executions++;
    state->work += state->blocks - state->budget;
    int new = pltvm_fuzz_classify(arena, 1);
    pltvm_fuzz_restore(arena);
    if (pltvm_fuzz_deeper(arena, 1) && !new) new = 1;
    if (new) return new;
    pltvm_fuzz_advance(arena);
    state->budget = state->blocks;
    state->region = 0;
    return 0;
}
