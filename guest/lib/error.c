/* errno, its texts, and assert. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    int number;
    const char *text;
} texts[] = {
    {0, "No error"},
    {EPERM, "Operation not permitted"},
    {ENOENT, "No such file"},
    {EIO, "Input/output error"},
    {E2BIG, "Argument list too long"},
    {EBADF, "Bad file handle"},
    {EAGAIN, "Try again"},
    {ENOMEM, "Out of memory"},
    {EACCES, "Permission denied"},
    {EBUSY, "Server busy"},
    {EEXIST, "File exists"},
    {ENODEV, "No such server"},
    {EINVAL, "Invalid argument"},
    {ENFILE, "Too many files in the file system"},
    {EMFILE, "Too many open files"},
    {EFBIG, "File too large"},
    {ENOSPC, "No space left"},
    {ESPIPE, "Cannot seek"},
    {EDOM, "Argument out of domain"},
    {ERANGE, "Result out of range"},
    {ENAMETOOLONG, "Name too long"},
    {ENOSYS, "Function not implemented"},
};

char *strerror(int number)
{
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].number == number)
            return (char *)texts[i].text;
    return "Unknown error";
}

void perror(const char *text)
{
    if (text && *text)
        printf("%s: ", text);
    printf("%s\n", strerror(errno));
}

void __assert_failed(const char *condition, const char *file, int line, const char *function)
{
    printf("%s:%d: %s: assertion failed: %s\n", file, line, function, condition);
    abort();
}
