/* The server journal: keeps lines in a list, the latest first.
 *
 *     ADD    puts a line before the others
 *     DROP   takes out the lines with a number
 *     SUM    adds up what is left
 *
 * resp_val is 0 or a sum, or an error number with a minus sign. A request has up to eight operations.
 *
 * Bug: DROP gives a line back and then reads where the next one is from it. The memory is still there, with what was in
 * it: nothing faults, and only the memory checker sees it.
 */
#include <errno.h>
#include <stdlib.h>

#include "eapp.h"

#define OPERATIONS 8

enum operation { ADD = 1, DROP = 2, SUM = 3 };

struct request {
    struct {
        unsigned char operation, number;
    } of[OPERATIONS];
};

struct line {
    struct line *next;
    unsigned number;
};

static struct line *first;

static long add(unsigned number)
{
    struct line *line = malloc(sizeof *line);

    if (!line)
        return -ENOMEM;
    line->number = number;
    line->next = first;
    first = line;
    return 0;
}

static long drop(unsigned number)
{
    struct line **link = &first;

    for (struct line *line = first, *next; line; line = next) {
#ifdef FIXED
        next = line->next;
#endif
        if (line->number == number) {
            *link = line->next;
            free(line);
        } else {
            link = &line->next;
        }
#ifndef FIXED
        next = line->next;
#endif
    }
    return 0;
}

static long sum(void)
{
    long total = 0;

    for (const struct line *line = first; line; line = line->next)
        total += line->number;
    return total;
}

static long serve(const struct request *request)
{
    long result = -EINVAL;

    for (int i = 0; i < OPERATIONS && request->of[i].operation; i++) {
        switch (request->of[i].operation) {
        case ADD: result = add(request->of[i].number % 4); break;
        case DROP: result = drop(request->of[i].number % 4); break;
        case SUM: result = sum(); break;
        default: return -EINVAL;
        }
    }
    return result;
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t answer = {.resp_val = -EINVAL, .req_vaddr = args[11], .req_size = args[12]};

    if (args[11])
        answer.resp_val = serve((const struct request *)args[11]);
    SERVER_RETURN(&answer);
}
