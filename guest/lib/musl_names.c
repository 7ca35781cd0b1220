/* Names by which headers of other C libraries, and objects compiled with them, refer to functions here. */
#include <errno.h>
#include <stdlib.h>

void __assert_failed(const char *condition, const char *file, int line, const char *function)
    __attribute__((noreturn));
int *__errno_location(void);
void __assert_fail(const char *condition, const char *file, int line, const char *function)
    __attribute__((noreturn));

int *__errno_location(void)
{
    return &errno;
}

int *___errno_location(void) __attribute__((alias("__errno_location")));

void __assert_fail(const char *condition, const char *file, int line, const char *function)
{
    __assert_failed(condition, file, line, function);
}
