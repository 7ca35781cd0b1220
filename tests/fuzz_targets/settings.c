/* The server settings: reads settings in nested blocks, as "net{mtu;dns{first;}}log;".
 *
 * The page passed has the text, which ends at its first NUL. resp_val is how many settings there are, or an error
 * number with a minus sign.
 *
 * Bug: nothing limits how deep blocks are nested, and each takes a buffer for its name on the stack.
 *
 * fuzz: --as server
 * finds: stack
 */
#include <ctype.h>
#include <errno.h>
#include <stdint.h>

#include "eapp.h"

#define NAME_SIZE 1024
#define DEEPEST 8

struct reader {
    const char *at, *end;
    uint64_t digest; /* of the names, those of a block behind what is in it */
};

static int peek(const struct reader *reader)
{
    return reader->at < reader->end ? *reader->at : '\0';
}

static long read_block(struct reader *reader, int depth)
{
    volatile char name[NAME_SIZE];
    long count = 0;

#ifdef FIXED
    if (depth > DEEPEST)
        return -E2BIG;
#endif
    while (peek(reader) && peek(reader) != '}') {
        int size = 0;

        for (; isalpha(peek(reader)); reader->at++)
            if (size < NAME_SIZE)
                name[size++] = *reader->at;
        if (size == 0)
            return -EINVAL;
        switch (peek(reader)) {
        case ';':
            count++;
            break;
        case '{':
            reader->at++;

            long inside = read_block(reader, depth + 1);

            if (inside < 0)
                return inside;
            if (peek(reader) != '}')
                return -EINVAL;
            count += inside;
            break;
        default:
            return -EINVAL;
        }
        reader->at++;
        for (int i = 0; i < size; i++)
            reader->digest = (reader->digest ^ (unsigned char)name[i]) * 0x100000001b3;
    }
    return count;
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct reader reader = {.at = (const char *)args[11], .end = (const char *)args[11] + args[12]};
    struct call_enclave_arg_t ret = {.resp_val = -EINVAL, .req_vaddr = args[11], .req_size = args[12]};

    if (ret.req_vaddr) {
        long count = read_block(&reader, 0);

        ret.resp_val = count >= 0 && peek(&reader) ? -EINVAL : count;
    }
    SERVER_RETURN(&ret);
}
