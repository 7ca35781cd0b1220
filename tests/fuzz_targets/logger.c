/* The server logger: prints lines of its clients.
 *
 * The page passed has the level, 1 to 3, as its first byte, and the line as text from byte 8 on. Level 1 is not
 * printed, only counted. resp_val is how many lines there were, or an error number with a minus sign.
 *
 * Bug: the line is the format of the printing function. Conversions in it take arguments that nobody passed: "%s"
 * reads memory at whatever number is in a register or on the stack.
 *
 * fuzz: --as server
 * finds: fault, hang, pointer
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "eapp.h"

#define LINE_SIZE 200 /* with the NUL */

enum level { QUIET = 1, NORMAL = 2, URGENT = 3 };

struct request {
    unsigned char level;
    unsigned char unused[7];
    char line[LINE_SIZE];
};

static long lines;

static void print_line(int level, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    printf("[logger] %c ", level == URGENT ? '!' : ' ');
    vprintf(format, args);
    putchar('\n');
    va_end(args);
}

static long add(const struct request *request)
{
    if (request->level < QUIET || request->level > URGENT)
        return -EINVAL;
    if (!request->line[0] || !memchr(request->line, '\0', LINE_SIZE))
        return -EINVAL;
    if (request->level != QUIET)
#ifdef FIXED
        print_line(request->level, "%s", request->line);
#else
        print_line(request->level, request->line);
#endif
    return ++lines;
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    const struct request *request = (const struct request *)args[11];
    struct call_enclave_arg_t ret = {.resp_val = -EINVAL, .req_vaddr = args[11], .req_size = args[12]};

    if (request)
        ret.resp_val = add(request);
    SERVER_RETURN(&ret);
}
