/* The server palette: keeps colours of a picture in a table, and mixes them.
 *
 *     SET   puts a colour into a place of the table
 *     MIX   gives the mean of two colours
 *
 * resp_val is 0 or a colour, or an error number with a minus sign.
 *
 * Bug: SET refuses places behind the table by one too few. So a colour is written behind it, into another variable:
 * nothing faults, and only the memory checker sees it.
 */
#include <errno.h>

#include "eapp.h"

#define COLOURS 24

enum operation { SET = 1, MIX = 2 };

struct request {
    unsigned char first, second;
    unsigned char unused[2];
    unsigned colour;
};

static unsigned table[COLOURS];

static long set(const struct request *request)
{
#ifdef FIXED
    if (request->first >= COLOURS)
#else
    if (request->first > COLOURS)
#endif
        return -EINVAL;

    unsigned *place = table;

    place += request->first;
    *place = request->colour & 0xffffff;
    return 0;
}

static long mix(const struct request *request)
{
    if (request->first >= COLOURS || request->second >= COLOURS)
        return -EINVAL;
    return ((table[request->first] >> 1) & 0x7f7f7f) + ((table[request->second] >> 1) & 0x7f7f7f);
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t answer = {.resp_val = -EINVAL, .req_vaddr = args[11], .req_size = args[12]};
    const struct request *request = (const struct request *)args[11];

    if (request)
        answer.resp_val = args[10] == SET ? set(request) : args[10] == MIX ? mix(request) : -EINVAL;
    SERVER_RETURN(&answer);
}
