/* The server kv-store: keeps values under keys, for each client its own.
 *
 * The protocol is in kv_protocol.h. Keys and values live in the server's memory, which stays from call to call. Nothing
 * in a request is believed: sizes are checked against the pages that came, and who asks is what the monitor says
 * (get_caller_id), not what the request says. No number is given to two enclaves, so nobody inherits what an enclave
 * that has ended left behind.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "eapp.h"
#include "kv_protocol.h"

#define MOST_ENTRIES 1024 /* of all clients */
#define MOST_BYTES (4UL << 20)

struct entry {
    struct entry *next;
    long owner;
    size_t size;
    char key[KV_KEY_SIZE];
    unsigned char value[];
};

static struct entry *entries;
static size_t total_entries, total_bytes;

/* The link to the entry, so that it can be taken out; it holds NULL when there is none. */
static struct entry **find(long owner, const char *key)
{
    struct entry **link = &entries;

    while (*link && ((*link)->owner != owner || strcmp((*link)->key, key) != 0))
        link = &(*link)->next;
    return link;
}

static size_t keys_of(long owner)
{
    size_t count = 0;

    for (struct entry *entry = entries; entry; entry = entry->next)
        count += entry->owner == owner;
    return count;
}

static void take_out(struct entry **link)
{
    struct entry *entry = *link;

    *link = entry->next;
    total_entries--;
    total_bytes -= entry->size;
    memset(entry->value, 0, entry->size); /* the memory will be another client's */
    free(entry);
}

static enum kv_result put(long owner, const struct kv_request *request, const unsigned char *value, size_t room)
{
    size_t size = request->size;

    if (size > room || size > KV_LARGEST_VALUE)
        return KV_BAD_SIZE;

    struct entry **old = find(owner, request->key);
    size_t replaced = *old ? (*old)->size : 0;

    if (!*old && (keys_of(owner) >= KV_MOST_KEYS || total_entries >= MOST_ENTRIES))
        return KV_FULL;
    if (total_bytes - replaced + size > MOST_BYTES)
        return KV_FULL;

    struct entry *entry = malloc(sizeof *entry + size);

    if (!entry)
        return KV_FULL;
    if (*old)
        take_out(old);
    entry->owner = owner;
    entry->size = size;
    strncpy(entry->key, request->key, KV_KEY_SIZE);
    memcpy(entry->value, value, size);
    entry->next = entries;
    entries = entry;
    total_entries++;
    total_bytes += size;
    return KV_OK;
}

static enum kv_result get(long owner, struct kv_request *request, unsigned char *value, size_t room)
{
    const struct entry *entry = *find(owner, request->key);

    if (!entry)
        return KV_NOT_FOUND;
    request->size = entry->size;
    if (entry->size > room)
        return KV_TOO_SMALL;
    memcpy(value, entry->value, entry->size);
    return KV_OK;
}

static enum kv_result delete(long owner, const struct kv_request *request)
{
    struct entry **link = find(owner, request->key);

    if (!*link)
        return KV_NOT_FOUND;
    take_out(link);
    return KV_OK;
}

static enum kv_result list(long owner, struct kv_request *request, unsigned char *keys, size_t room)
{
    size_t count = 0;

    for (const struct entry *entry = entries; entry; entry = entry->next) {
        if (entry->owner != owner)
            continue;
        if ((count + 1) * KV_KEY_SIZE <= room)
            memcpy(keys + count * KV_KEY_SIZE, entry->key, KV_KEY_SIZE);
        count++;
    }
    request->size = count;
    return count * KV_KEY_SIZE <= room ? KV_OK : KV_TOO_SMALL;
}

static bool good_key(const char *key)
{
    return key[0] && memchr(key, '\0', KV_KEY_SIZE);
}

static enum kv_result serve(unsigned long operation, struct kv_request *request, size_t size)
{
    long owner = get_caller_id();
    unsigned char *value = (unsigned char *)request + KV_VALUE;
    size_t room = size - KV_VALUE;

    switch (operation) {
    case KV_PUT:
        return good_key(request->key) ? put(owner, request, value, room) : KV_BAD_KEY;
    case KV_GET:
        return good_key(request->key) ? get(owner, request, value, room) : KV_BAD_KEY;
    case KV_DELETE:
        return good_key(request->key) ? delete(owner, request) : KV_BAD_KEY;
    case KV_LIST:
        return list(owner, request, value, room);
    default:
        return KV_BAD_OPERATION;
    }
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    unsigned long operation = args[10];
    unsigned long req_vaddr = args[11];
    unsigned long req_size = args[12];
    struct call_enclave_arg_t ret = {.resp_val = KV_NO_PAGES, .req_vaddr = req_vaddr, .req_size = req_size};

    if (req_vaddr) /* then it is at least one page: the monitor sees to that */
        ret.resp_val = serve(operation, (struct kv_request *)req_vaddr, req_size);

    SERVER_RETURN(&ret);
}
