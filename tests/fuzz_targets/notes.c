/* The server notes: keeps notes of its clients in numbered slots.
 *
 *     PUT   puts a note into a slot, which is then the client's
 *     GET   gives the note in a slot of the client's
 *     COPY  copies the note in a slot into another one, which is then the client's
 *
 * resp_val is 0, or an error number with a minus sign.
 *
 * Bug: COPY looks at who owns the slot that it writes, but not at who owns the one that it reads. So a client can have
 * another client's note copied, and then get it: the server is its confused deputy.
 *
 * fuzz: --as server --calls 4 --clients 2
 * finds: other-client
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "eapp.h"

#define SLOTS 8
#define NOTE_SIZE 64

enum operation { PUT = 1, GET = 2, COPY = 3 };

struct request {
    unsigned char slot;
    unsigned char to; /* of COPY */
    unsigned char unused[6];
    unsigned char note[NOTE_SIZE];
};

static struct slot {
    bool used;
    long owner;
    unsigned char note[NOTE_SIZE];
} slots[SLOTS];

static bool is_free_for(const struct slot *slot, long client)
{
    return !slot->used || slot->owner == client;
}

static long put(struct slot *slot, long client, const unsigned char *note)
{
    if (!is_free_for(slot, client))
        return -EACCES;
    slot->used = true;
    slot->owner = client;
    memcpy(slot->note, note, NOTE_SIZE);
    return 0;
}

static long get(const struct slot *slot, long client, unsigned char *note)
{
    if (!slot->used)
        return -ENOENT;
    if (slot->owner != client)
        return -EACCES;
    memcpy(note, slot->note, NOTE_SIZE);
    return 0;
}

static long copy(const struct slot *from, struct slot *to, long client)
{
    if (!from->used)
        return -ENOENT;
    if (from == to)
        return -EINVAL;
#ifdef FIXED
    if (from->owner != client)
        return -EACCES;
#endif
    return put(to, client, from->note);
}

static long serve(unsigned long operation, struct request *request)
{
    long client = get_caller_id();

    if (request->slot >= SLOTS)
        return -EINVAL;
    switch (operation) {
    case PUT:
        return put(&slots[request->slot], client, request->note);
    case GET:
        return get(&slots[request->slot], client, request->note);
    case COPY:
        return request->to < SLOTS ? copy(&slots[request->slot], &slots[request->to], client) : -EINVAL;
    default:
        return -ENOSYS;
    }
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct request *request = (struct request *)args[11];
    struct call_enclave_arg_t ret = {.resp_val = -EINVAL, .req_vaddr = args[11], .req_size = args[12]};

    if (request)
        ret.resp_val = serve(args[10], request);
    SERVER_RETURN(&ret);
}
