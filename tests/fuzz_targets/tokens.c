/* The server tokens: runs a command line.
 *
 *     sum NUMBER ...    resp_val is the sum
 *     count WORD ...    resp_val is the number of words
 *
 * The page passed has the size of the line as u16, and the line from byte 8 on. Words are separated by blanks or
 * control characters; what is too long for a word is cut off.
 *
 * Bug: a word of 16 characters fills its buffer, and the NUL goes one byte behind it: there is the low byte of the
 * pointer to the line's end. The reader is then behind the end already, and runs off the mapping.
 *
 * fuzz: --as server
 * finds: fault
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "eapp.h"

#define LINE 8 /* where it starts */

struct reader {
    char word[16];
    const char *end;
    const char *at;
};

#ifdef FIXED
#define LONGEST_WORD (sizeof((struct reader *)0)->word - 1)
#else
#define LONGEST_WORD (sizeof((struct reader *)0)->word)
#endif

static bool is_blank(char c)
{
    return (unsigned char)c <= ' ';
}

static __attribute__((noinline)) bool next_word(struct reader *reader)
{
    size_t used = 0;

    while (reader->at != reader->end && is_blank(*reader->at))
        reader->at++;
    if (reader->at == reader->end)
        return false;
    while (reader->at != reader->end && !is_blank(*reader->at)) {
        if (used < LONGEST_WORD)
            reader->word[used++] = *reader->at;
        reader->at++;
    }
    reader->word[used] = '\0';
    return true;
}

static unsigned long number(const char *word)
{
    unsigned long value = 0;

    for (; *word >= '0' && *word <= '9'; word++)
        value = value * 10 + (unsigned long)(*word - '0');
    return value;
}

static unsigned long run(struct reader *reader)
{
    unsigned long result = 0;

    if (!next_word(reader))
        return -EINVAL;
    if (strcmp(reader->word, "sum") == 0) {
        while (next_word(reader))
            result += number(reader->word);
        return result;
    }
    if (strcmp(reader->word, "count") == 0) {
        while (next_word(reader))
            result++;
        return result;
    }
    return -ENOSYS;
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    const char *request = (const char *)args[11];
    unsigned long req_size = args[12];
    struct call_enclave_arg_t ret = {.resp_val = -EINVAL, .req_vaddr = args[11], .req_size = req_size};

    if (request) {
        size_t size = *(const uint16_t *)request;
        struct reader reader = {.at = request + LINE, .end = request + LINE + size};

        if (size <= req_size - LINE)
            ret.resp_val = run(&reader);
    }
    SERVER_RETURN(&ret);
}
