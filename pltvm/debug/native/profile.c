/* Counts blocks of code, and tracks calls: does what debug/profile/count.py does, which describes it.
 *
 * In C because every block of code that runs is counted.
 */

#include "debug/native/profile.h"
#include "engine/native/quirks.h"
#include "engine/native/sv39.h"
#include "monitor/native/calls.h"
#include "monitor/native/space.h"

enum { OCALLS = 128 };

static uint64_t mix(uint64_t one, uint64_t two) {
    uint64_t value = (one ^ two * UINT64_C(0x9E3779B97F4A7C15)) * UINT64_C(0xD6E8FEB86659FD93);
    return value ^ value >> 32;
}

static void put_away(struct profile *profile);
static void take_out(struct profile *profile, struct stack *stack);

/* -- blocks ------------------------------------------------------------------------------------------- */

/* The physical address of code at `pc`, 0 if user mode cannot execute it. */
static uint64_t place_of(struct profile *profile, uint64_t pc) {
    struct hart *hart = profile->hart;
    uint64_t root = root_of(hart->registers[SATP]), tag = pc >> 12;
    struct page *page = &profile->pages[(tag ^ root >> 12) % PAGES];
    if (page->tag != tag || page->root != root || page->epoch != profile->epoch) {
        const void *start = translate(hart, root, pc & ~(PAGE - 1), PTE_X);
        page->tag = tag;
        page->root = root;
        page->epoch = profile->epoch;
        page->pa = start == NULL ? 0 : address(hart, start);
    }
    return page->pa ? page->pa | (pc & (PAGE - 1)) : 0;
}

/* Copy code as mapped in the running context; unmapped bytes stay zero. */
static void copy_code(struct profile *profile, uint64_t pc, uint64_t size, uint8_t *to) {
    while (size) {
        uint64_t part = PAGE - (pc & (PAGE - 1)), pa = place_of(profile, pc);
        if (part > size) part = size;
        if (pa) memcpy(to, at(profile->hart, pa), part);
        to += part, pc += part, size -= part;
    }
}

static int is_same(struct profile *profile, const struct block *block) {
    uint8_t now[PAGE];
    if (block->size > sizeof now) return 1;
    memset(now, 0, block->size);
    copy_code(profile, block->pc, block->size, now);
    return !memcmp(now, profile->code + block->code, block->size);
}

/* x1 and x5 hold return addresses. */
static int is_link(unsigned reg) { return reg == 1 || reg == 5; }

static uint32_t end_of(uint32_t word) {
    unsigned rd = word >> 7 & 31, rs1 = word >> 15 & 31;
    if ((word & 3) != 3) {
        unsigned half = word & 0xF07F, reg = word >> 7 & 31;
        if (half == 0x8002 && is_link(reg)) return ENDS_RETURN; /* c.jr */
        if (half == 0x9002 && reg) return ENDS_CALL;            /* c.jalr */
        return ENDS_PLAIN;
    }
    if ((word & 0x7F) == 0x6F) return is_link(rd) ? ENDS_CALL : ENDS_PLAIN;
    if ((word & 0x7F) != 0x67) return ENDS_PLAIN;
    if (is_link(rd)) return ENDS_CALL;
    return is_link(rs1) ? ENDS_RETURN : ENDS_PLAIN;
}

/* Count the instructions, and classify the last one. */
static void decode(struct block *block, const uint8_t *code) {
    uint32_t at = 0, word = 0, low = 0;
    while (at + 2 <= block->size) {
        low = code[at] | (uint32_t)code[at + 1] << 8;
        block->length = (low & 3) == 3 ? 4 : 2;
        word = low;
        if (block->length == 4 && at + 4 <= block->size)
            word |= (uint32_t)code[at + 2] << 16 | (uint32_t)code[at + 3] << 24;
        at += block->length;
        block->instructions++;
    }
    block->end = end_of(word);
}

/* The row of a block of the running context; block 0 if there is no room. */
static struct block *block_at(struct profile *profile, uint64_t pc, uint32_t size) {
    uint64_t who = profile->stack->who, where = place_of(profile, pc);
    uint64_t slot = mix(pc ^ where << 20, who << 32 | size);
    for (;; slot++) {
        uint32_t *found = &profile->block_slots[slot % BLOCK_SLOTS];
        struct block *block = &profile->blocks[*found];
        if (*found == 0) break;
        if (block->pc != pc || block->who != who || block->where != where || block->size != size || block->dead)
            continue;
        if (block->seen != profile->translated) {
            if (!is_same(profile, block)) {
                block->dead = 1;
                continue;
            }
            block->seen = profile->translated;
        }
        return block;
    }
    struct stack *stack = profile->find((uint64_t)(uintptr_t)profile->hart->registers, pc);
    if (stack != profile->stack) { /* it executes another program now */
        put_away(profile);
        take_out(profile, stack);
        return block_at(profile, pc, size);
    }
    if (profile->block_count >= MOST_BLOCKS || profile->code_used + size > MOST_CODE) {
        profile->lost++;
        return &profile->blocks[0];
    }
    struct block *block = &profile->blocks[profile->block_count];
    profile->block_slots[slot % BLOCK_SLOTS] = (uint32_t)profile->block_count;
    block->who = who, block->pc = pc, block->where = where, block->size = size;
    block->seen = profile->translated, block->code = profile->code_used;
    copy_code(profile, pc, size, profile->code + block->code);
    profile->code_used += size;
    decode(block, profile->code + block->code);
    profile->added(profile->block_count++);
    return block;
}

/* -- the tree of calls -------------------------------------------------------------------------------- */

/* The node of a function that `parent` calls; `parent` itself if there is no room. */
static uint64_t node_of(struct profile *profile, uint64_t parent, uint32_t function, uint64_t site) {
    uint64_t slot = mix(parent << 32 | function, site);
    for (;; slot++) {
        uint32_t *found = &profile->node_slots[slot % NODE_SLOTS];
        const struct node *node = &profile->nodes[*found];
        if (*found == 0) {
            if (profile->node_count >= MOST_NODES) return parent;
            *found = (uint32_t)profile->node_count++;
            struct node *made = &profile->nodes[*found];
            made->parent = (uint32_t)parent, made->function = function, made->site = site;
            return *found;
        }
        if (node->parent == parent && node->function == function && node->site == site) return *found;
    }
}

/* Add the instructions counted since then to the present node. */
static void flush(struct profile *profile) {
    profile->nodes[profile->stack->node].self += profile->own;
    profile->own = 0;
}

static void enter(struct profile *profile, struct stack *stack, uint32_t function, uint64_t site) {
    uint64_t parent = stack->depth ? stack->frames[stack->depth - 1].node : stack->root;
    stack->node = node_of(profile, parent, function, site);
    profile->nodes[stack->node].calls++;
}

/* Find the node for a block, given the block before it. */
static void follow(struct profile *profile, struct stack *stack, uint64_t pc, uint32_t function) {
    if (profile->end == ENDS_CALL && profile->after != pc) {
        if (stack->depth < MOST_FRAMES) {
            struct frame *frame = &stack->frames[stack->depth++];
            frame->node = (uint32_t)stack->node;
            frame->back = profile->after;
            enter(profile, stack, function, frame->back);
            return;
        }
    } else if (profile->end == ENDS_RETURN) {
        for (uint64_t depth = stack->depth; depth-- > 0;) {
            if (stack->frames[depth].back != pc) continue;
            stack->node = stack->frames[depth].node;
            stack->depth = depth;
            break;
        }
    }
    if (profile->nodes[stack->node].function == function) return;
    /* A jump into another function: a tail call, longjmp, a signal, or a server's next call. */
    for (uint64_t depth = stack->depth; depth-- > 0;) {
        if (profile->nodes[stack->frames[depth].node].function != function) continue;
        stack->node = stack->frames[depth].node;
        stack->depth = depth;
        return;
    }
    enter(profile, stack, function, stack->depth ? stack->frames[stack->depth - 1].back : 0);
}

/* -- who runs ------------------------------------------------------------------------------------------ */

static struct stack *stack_of(struct profile *profile, uint64_t pc) {
    uint64_t registers = (uint64_t)(uintptr_t)profile->hart->registers;
    struct stack **known = &profile->known[mix(registers, 0) % KNOWN]; /* of enclaves, the low bits are the same */
    if (*known == NULL || (*known)->registers != registers) *known = profile->find(registers, pc);
    return *known;
}

/* Store the state of the running context, as another one may run next. */
static void put_away(struct profile *profile) {
    struct stack *stack = profile->stack;
    if (stack != NULL) {
        flush(profile);
        stack->end = profile->end;
        stack->after = profile->after;
    }
    profile->stack = NULL;
    profile->running = NULL;
    profile->stamp = 0;
}

static void take_out(struct profile *profile, struct stack *stack) {
    profile->stack = stack;
    profile->end = stack->end;
    profile->after = stack->after;
    profile->function = profile->nodes[stack->node].function;
    profile->salt = stack->number * 0x9E37;
}

/* -- hooks -------------------------------------------------------------------------------------------- */

static inline struct seen *place_in_seen(struct profile *profile, uint64_t pc) {
    return &profile->seen[(pc >> 1 ^ profile->salt) % SEEN];
}

/* A block that is not found at once. */
static struct seen *look_up(struct profile *profile, uint64_t pc, uint32_t size) {
    if (profile->refresh) {
        profile->refresh = 0;
        profile->hart->ctl(profile->hart->engine, (int)profile->hart->flush_word);
    }
    if (profile->stack == NULL) take_out(profile, stack_of(profile, pc));
    struct block *block = block_at(profile, pc, size);
    struct seen *seen = place_in_seen(profile, pc);
    profile->blocks[seen->block].times += seen->times;
    profile->stamp = profile->stack->number << 40 | (profile->epoch & ((UINT64_C(1) << 40) - 1));
    *seen = (struct seen){
        .pc = pc, .stamp = profile->stamp, .block = (uint32_t)(block - profile->blocks), .size = size,
        .instructions = block->instructions, .function = block->function, .end = block->end,
    };
    return seen;
}

/* Count a block in its node. */
static inline void count_here(struct profile *profile, struct seen *seen) {
    seen->times++;
    profile->running = seen;
    profile->own += seen->instructions;
    profile->end = seen->end;
    profile->after = seen->pc + seen->size;
}

static void count(struct profile *profile, struct seen *seen) {
    if (profile->end | (seen->function ^ profile->function)) {
        flush(profile);
        follow(profile, profile->stack, seen->pc, seen->function);
        profile->function = seen->function;
    }
    count_here(profile, seen);
}

static inline int is_known(const struct profile *profile, const struct seen *seen, uint64_t pc, uint32_t size) {
    return seen->pc == pc && seen->stamp == profile->stamp && seen->size == size;
}

/* A block that is unknown, or comes after a call, a return, or another function. */
__attribute__((noinline)) static void count_slowly(uint64_t pc, uint32_t size, struct profile *profile) {
    struct seen *seen = place_in_seen(profile, pc);
    if (!is_known(profile, seen, pc, size)) {
        if (profile->hart->registers == NULL) return; /* a guest kernel */
        seen = look_up(profile, pc, size);
    }
    count(profile, seen);
}

/* Unicorn calls it at each block. The usual case need not save registers. */
API void pltvm_profile_block(void *engine, uint64_t pc, uint32_t size, struct profile *profile) {
    (void)engine;
    struct seen *seen = place_in_seen(profile, pc);
    int plain = is_known(profile, seen, pc, size) && !(profile->end | (seen->function ^ profile->function));
    if (__builtin_expect(plain, 1)) count_here(profile, seen);
    else count_slowly(pc, size, profile);
}

/* Count the part that ran of a block that was left at `pc`. */
API void pltvm_profile_left(struct profile *profile, uint64_t pc) {
    struct seen *seen = profile->running;
    if (seen == NULL || pc - seen->pc >= seen->size) return;
    profile->running = NULL;
    seen->times--;
    profile->own -= seen->instructions; /* it may be negative until it is added to the node */
    profile->end = ENDS_PLAIN;
    if (pc != seen->pc) count(profile, look_up(profile, seen->pc, (uint32_t)(pc - seen->pc)));
    profile->running = NULL;
    profile->end = ENDS_PLAIN;
}

/* Move all counts to their rows. */
API void pltvm_profile_flush(struct profile *profile) {
    if (profile->stack != NULL) flush(profile);
    for (uint64_t i = 0; i < SEEN; i++) {
        profile->blocks[profile->seen[i].block].times += profile->seen[i].times;
        profile->seen[i].times = 0;
    }
}

/* System calls of host programs that start or end processes and enclaves: ioctl, exit, clone, execve. */
static int may_change(uint64_t number) {
    return number == 29 || number == 93 || number == 94 || number == 220 || number == 221 || number == 281 ||
           number == 435;
}

static void count_call(struct profile *profile, uint64_t caller, uint64_t callee, uint64_t pages, uint64_t back) {
    struct edge *edge = profile->edges, *end = edge + profile->edge_count;
    while (edge < end && (edge->caller != caller || edge->callee != callee)) edge++;
    if (edge == end) {
        if (profile->edge_count == MOST_EDGES) return;
        profile->edge_count++;
        edge->caller = caller, edge->callee = callee;
    }
    edge->calls += !back;
    *(back ? &edge->back : &edge->pages) += pages;
}

static uint64_t pages_of(const struct region *region) { return region == NULL ? 0 : region->size / PAGE; }

/* Pages that a server's return has given the running enclave, by its struct at `va`. */
static uint64_t pages_back(struct hart *hart, struct enclave *caller, uint64_t va) {
    struct call_struct told;
    for (uint64_t i = 0; i < sizeof told; i += 8) {
        const uint8_t *from = translate(hart, caller->root, va + i, PTE_R);
        if (from == NULL || ((va + i) & (PAGE - 1)) > PAGE - 8) return 0;
        memcpy((uint8_t *)&told + i, from, 8);
    }
    struct region *request = find_region(hart, caller, told.req_vaddr, (told.req_size + PAGE - 1) & ~(PAGE - 1));
    struct region *response = find_region(hart, caller, told.resp_vaddr, (told.resp_size + PAGE - 1) & ~(PAGE - 1));
    return (told.req_vaddr ? pages_of(request) : 0) +
           (told.resp_vaddr && response != request ? pages_of(response) : 0);
}

/* Unicorn calls it at each trap, in place of the hart's own function, which it calls. */
API void pltvm_profile_trap(void *engine, uint32_t cause, struct profile *profile) {
    struct hart *hart = profile->hart;
    uint64_t *registers = hart->registers, traps = hart->traps;
    struct stack *stack = profile->stack;
    if (registers == NULL || stack == NULL) {
        profile->trap(engine, cause, profile->data);
        profile->epoch++;
        put_away(profile);
        return;
    }
    uint64_t pc = 0, number = 0;
    int is_call = 0, changes = 0;
    stack->counts->causes[cause % CAUSES]++;
    if (cause == ECALL_U) {
        uint64_t a0, a6; /* in one call, as each call costs more than everything else here */
        const int ids[] = {hart->ids[A0], hart->ids[A6], hart->ids[A7]};
        void *values[] = {&a0, &a6, &number};
        hart->read_batch(hart->engine, ids, values, 3);
        is_call = a6 == ENCLAVE_CALL;
        changes = !is_call && may_change(number);
        if (is_call && number == CALL_OCALL) stack->counts->calls[OCALLS + a0 % 32]++;
        if (is_call && number < OCALLS) stack->counts->calls[number]++;
    } else {
        pc = hart_register(hart, PC) - 4;
        pltvm_profile_left(profile, pc);
    }
    profile->running = NULL;
    uint64_t caller = globals_of(hart)->running;
    profile->trap(engine, cause, profile->data);
    int by_core = hart->traps != traps;
    if (changes) memset(profile->known, 0, KNOWN * sizeof *profile->known);
    if (!by_core) profile->epoch++;
    if (hart->registers == registers && !changes) {
        if (profile->stack == NULL) return; /* Python has made an enclave, and `forget` was called */
        if (!by_core) profile->stamp = 0;
        if (cause == ILLEGAL) { /* done by the core, which saves no registers, or by Python, which has saved them */
            uint64_t by = (by_core ? hart_register(hart, PC) : registers[PC]) - pc;
            if (by == 2 || by == 4) {
                count(profile, look_up(profile, pc, (uint32_t)by));
                profile->running = NULL;
            }
        }
        return;
    }
    put_away(profile);
    int calls = number == CALL_CALL || number == CALL_CALL_WAITING;
    if (is_call && (calls || number == CALL_RETURN) && hart->registers != NULL &&
        globals_of(hart)->running) {
        struct enclave *now = enclave_at(hart, globals_of(hart)->running);
        if (registers_of(hart, now)->own != hart->registers) return;
        struct stack *other = stack_of(profile, hart->registers[PC]);
        if (calls && now->caller == caller) { /* else the host let another chain go on */
            const struct region *request = now->request ? at(hart, now->request) : NULL;
            count_call(profile, stack->who, other->who, pages_of(request), 0);
        } else if (!calls) {
            count_call(profile, other->who, stack->who, pages_back(hart, now, hart->registers[A1]), 1);
        }
    }
}

/* Count a call that was made when its enclave had waited, in a monitor call of the host. */
API void pltvm_profile_waited(struct profile *profile, uint64_t caller, uint64_t callee, uint64_t pages) {
    count_call(profile, caller, callee, pages, 0);
}

/* Another one may run next. */
API void pltvm_profile_leave(struct profile *profile) { put_away(profile); }

/* Forget the owners of registers, as they may have changed. */
API void pltvm_profile_forget(struct profile *profile) {
    memset(profile->known, 0, KNOWN * sizeof *profile->known);
    put_away(profile);
}

/* Unicorn calls it for each block that it has translated: code may have changed. */
API void pltvm_profile_translated(void *engine, void *block, void *previous, struct profile *profile) {
    (void)engine, (void)block, (void)previous;
    profile->translated++;
    profile->epoch++;
    profile->stamp = 0;
}
