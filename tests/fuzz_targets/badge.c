/* The server badge: makes a visitor's badge from a record of fields.
 *
 * The first half of the page passed has the record: a version, then fields of type, length and bytes; a field of type
 * 0 ends it. The badge, a line of text, goes into the second half. resp_val is its size, or an error number with a
 * minus sign.
 *
 * Bug: the length of a name is checked against what is left of the record, not against the buffer on the stack that
 * the name is copied into. A long name overwrites the return address.
 *
 * fuzz: --as server
 * finds: fault, pointer, stack
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "eapp.h"

#define VERSION 2
#define RECORD_SIZE (PAGE_SIZE / 2)
#define NAME_SIZE 32

enum field { END = 0, NAME = 1, ROOM = 2 };

static __attribute__((noinline)) long add_name(char *badge, const unsigned char *bytes, size_t size)
{
    char name[NAME_SIZE];

#ifdef FIXED
    if (size > sizeof name)
        return -EINVAL;
#endif
    memcpy(name, bytes, size);
    for (size_t i = 0; i < size; i++)
        name[i] = (char)toupper((unsigned char)name[i]);
    memcpy(badge, name, size);
    return (long)size;
}

static long add_room(char *badge, const unsigned char *bytes, size_t size)
{
    if (size != 1)
        return -EINVAL;
    badge[0] = '#';
    badge[1] = "0123456789abcdef"[bytes[0] >> 4];
    badge[2] = "0123456789abcdef"[bytes[0] & 15];
    return 3;
}

/* No field adds more to the badge than it takes of the record, so the badge fits. */
static long make_badge(const unsigned char *record, char *badge)
{
    const unsigned char *at = record + 1, *end = record + RECORD_SIZE;
    size_t used = 0;

    if (record[0] != VERSION)
        return -EINVAL;
    while (end - at >= 2 && at[0] != END) {
        size_t size = at[1];
        long added = -EINVAL;

        if (size > (size_t)(end - at) - 2)
            return -EINVAL;
        if (at[0] == NAME)
            added = add_name(badge + used, at + 2, size);
        else if (at[0] == ROOM)
            added = add_room(badge + used, at + 2, size);
        if (added < 0)
            return added;
        used += (size_t)added;
        at += 2 + size;
    }
    return (long)used;
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    unsigned char *record = (unsigned char *)args[11];
    struct call_enclave_arg_t ret = {.resp_val = -EINVAL, .req_vaddr = args[11], .req_size = args[12]};

    if (record)
        ret.resp_val = make_badge(record, (char *)record + RECORD_SIZE);
    SERVER_RETURN(&ret);
}
