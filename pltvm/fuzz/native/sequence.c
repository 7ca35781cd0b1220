/* The calls of an input that are like the one before: what fuzz/sequences.py does for them.
 *
 * In C as there are several in each execution, and the server runs for less time than Python would take.
 */

#include "fuzz/native/sequence.h"
#include "engine/native/sv39.h"

enum { HEAD = 12, SIZE_AT = 8, COST = 4000 }; /* of a message, and of one more call: in blocks of code */

struct message {
    uint64_t argument;
    int64_t start, length; /* of its memory, as far as the input goes */
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

int sequence_has_next(const struct batch *batch, int *passes) {
    struct message message;
    if (!next_message(batch, &message)) return 0;
    *passes = message.length > 0;
    return 1;
}

void sequence_call(struct hart *hart, struct batch *batch) {
    struct arena *arena = batch->arena;
    struct state *state = &arena->state;
    struct message message;
    next_message(batch, &message);
    state->sent++;
    state->next = message.start + message.length;
    state->work += COST;
    uint8_t *memory = hart->ram + batch->place;
    size_t room = (size_t)batch->room, length = (size_t)message.length < room ? (size_t)message.length : room;
    memcpy(memory, arena->buffer + message.start, length);
    memset(memory + length, 0, room - length);
    for (uint64_t i = 0; i < batch->slot_count; i++) /* written since the snapshot */
        ((uint64_t *)(void *)hart->ram)[batch->slots[i]] |= PTE_D;
    memcpy(batch->target, batch->entry, sizeof batch->entry);
    batch->target[A0] = message.argument;
    batch->target[A1] = batch->request;
    state->region = state->previous = 0;
}

int sequence_gave_back(const struct batch *batch, const struct call_struct *results) {
    return results->req_vaddr == batch->request && results->req_size == batch->room && !results->resp_vaddr;
}
