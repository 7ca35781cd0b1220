/* Calls of an input that are like the one before: does what fuzz/sequences.py does for them.
 *
 * In C because each execution has several, and the server runs for less time than Python would take.
 */

#include "fuzz/native/sequence.h"
#include "engine/native/sv39.h"
#include "fuzz/native/turn.h"
#include "monitor/native/calls.h"

enum { HEAD = 12, SIZE_AT = 8, COST = 4000 }; /* of a message, and of one more call: in blocks of code */

struct message {
    uint64_t argument;
    int64_t start, length; /* of its memory, limited by the end of the input */
};

/* The next message; 0 if there is none. */
static int next_message(const struct batch *batch, struct message *message) {
    const struct arena *arena = batch->arena;
    const struct state *state = &arena->state;
    if (state->next >= state->size || state->sent >= (int64_t)batch->most_calls) return 0;
    uint8_t head[HEAD] = {0};
    int64_t rest = state->size - state->next;
    memcpy(head, arena->buffer + state->next, (size_t)(rest < HEAD ? rest : HEAD));
    memcpy(&message->argument, head, sizeof message->argument);
    message->start = state->next + HEAD;
    message->length = head[SIZE_AT] | head[SIZE_AT + 1] << 8;
    if (rest < HEAD) rest = HEAD;
    if (message->length > rest - HEAD) message->length = rest - HEAD;
    return 1;
}

/* Whether a call has simply returned its request, so that nothing has to move for another call like it. */
static int is_like_the_next(const struct batch *batch, const struct call_struct *results) {
    return batch->passes && results->req_vaddr == batch->request && results->req_size == batch->room &&
           !results->resp_vaddr;
}

/* Write the memory of a message, with zeros after it. */
static void fill(const struct batch *batch, uint8_t *memory, const struct message *message) {
    size_t room = (size_t)batch->room, length = (size_t)message->length < room ? (size_t)message->length : room;
    memcpy(memory, batch->arena->buffer + message->start, length);
    memset(memory + length, 0, room - length);
}

static void note_sent(struct batch *batch, const struct message *message) {
    struct state *state = &batch->arena->state;
    state->sent++;
    state->next = message->start + message->length;
    state->region = state->previous = 0;
}

/* Make a call like the one before: nothing moves, and the target gets its first registers. */
static void call_again(struct hart *hart, struct batch *batch, const struct message *message) {
    struct state *state = &batch->arena->state;
    fill(batch, hart->ram + batch->place, message);
    /* Note it by D bits, like writes of guest code: the monitor has changed nothing. */
    for (uint64_t i = 0; i < batch->slot_count; i++) ((uint64_t *)(void *)hart->ram)[batch->slots[i]] |= PTE_D;
    note_sent(batch, message);
    state->work += COST;
    memcpy(batch->target, batch->entry, sizeof batch->entry);
    batch->target[A0] = message->argument;
    batch->target[A1] = batch->request;
}

/* Let the monitor end the target's call; 0 if Python has to do it. */
static int give_back(struct hart *hart, struct batch *batch) {
    struct state *state = &batch->arena->state;
    hart->above = batch->calls;
    int answered = return_to_caller(hart, enclave_at(hart, batch->server));
    hart->above = batch;
    if (!answered) return 0;
    batch->asked = 1;
    state->budget -= ECALL_BLOCKS;
    state->region = state->previous = 0;
    return 1;
}

/* Let the caller, which has the hart, make the call of the next message. */
static int send(struct hart *hart, struct batch *batch, const struct message *message) {
    struct enclave *caller = enclave_at(hart, batch->caller);
    struct call_struct *where = translate(hart, caller->root, batch->struct_va, PTE_R | PTE_W);
    uint64_t back = where ? where->req_vaddr : 0, va = batch->passes ? back : batch->caller_va;
    uint8_t *memory = where ? translate(hart, caller->root, va, PTE_R | PTE_W) : NULL;
    if (memory == NULL) return 0;
    fill(batch, memory, message);
    for (size_t at = 0; at < (size_t)batch->room; at += PAGE) wrote(hart, memory + at);
    int passes = message->length > 0;
    *where = (struct call_struct){message->argument, 0, passes ? va : 0, passes ? batch->room : 0, 0, 0};
    wrote(hart, where);
    hart_set(hart, A0, enclave_at(hart, batch->server)->eid);
    hart_set(hart, A1, batch->struct_va);
    hart->above = batch->calls;
    int answered = call_server(hart, caller);
    hart->above = batch;
    if (!answered) { /* as it was, for Python */
        where->req_vaddr = back;
        return 0;
    }
    note_sent(batch, message);
    batch->caller_va = va;
    batch->place = (uint64_t)(memory - hart->ram);
    batch->passes = (uint64_t)passes;
    batch->request = batch->target[A1];
    return 1;
}

int sequence_begin(struct hart *hart, struct batch *batch) {
    struct message message;
    batch->request = batch->first_request;
    batch->place = batch->first_place;
    batch->passes = 1;
    if (!next_message(batch, &message)) return 0;
    if (message.length) {
        call_again(hart, batch, &message);
        return 1;
    }
    /* Undo the call of the snapshot: its request goes back, with a struct in unused stack. */
    struct enclave *server = enclave_at(hart, batch->server);
    struct call_struct *unused = translate(hart, server->root, batch->unused_va, PTE_R | PTE_W), before;
    if (unused == NULL) return 0;
    if (hart->registers != batch->target) hart_switch(hart, batch->target);
    before = *unused;
    *unused = (struct call_struct){0, 0, batch->request, batch->room, 0, 0};
    hart_set(hart, A0, batch->unused_va);
    int answered = give_back(hart, batch);
    *unused = before;
    if (!answered) return 0;
    return send(hart, batch, &message) ? 2 : -1;
}

int sequence_next(struct hart *hart, struct batch *batch, const struct call_struct *results) {
    struct message message;
    int plain = is_like_the_next(batch, results), more = next_message(batch, &message);
    if (plain && !more) return 0;
    if (plain && message.length) {
        pltvm_fuzz_part(batch->arena, 0, 1);
        call_again(hart, batch, &message);
        hart_load(hart);
        return 1;
    }
    /* After that the execution must be able to end here. */
    if (!batch->left || !batch_is_data(hart) || !give_back(hart, batch)) return -1;
    if (!more) return 0;
    pltvm_fuzz_part(batch->arena, 0, 1);
    return send(hart, batch, &message) ? 1 : -2;
}
