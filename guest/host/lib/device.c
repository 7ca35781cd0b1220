/* The enclave device: opening it, printing errors, and the layout of its requests (ABI section 8). */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define OFFSET(member, expected) \
    _Static_assert(offsetof(struct penglai_enclave_user_param, member) == (expected), #member)

_Static_assert(sizeof(struct penglai_enclave_user_param) == 112, "user_param");
OFFSET(type, 24);
OFFSET(elf_ptr, 32);
OFFSET(shmid, 56);
OFFSET(is_shadow, 60);
OFFSET(relay_id, 80);
OFFSET(rerun_reason, 84);
OFFSET(retval, 104);
_Static_assert(sizeof(struct report_t) == 328, "report");
_Static_assert(sizeof(struct penglai_enclave_attest_param) == 344, "attest_param");
_Static_assert(sizeof(struct penglai_shmget_param) == 24, "get");
_Static_assert(sizeof(struct penglai_shmat_param) == 32, "attach");
_Static_assert(sizeof(struct penglai_shmdt_param) == 24, "detach");
_Static_assert(sizeof(struct penglai_shmctl_param) == 4, "remove");

int penglai_open(void)
{
    return open(PENGLAI_ENCLAVE_DEV_PATH, O_RDWR | O_CLOEXEC);
}

int penglai_failed(const char *what, ...)
{
    int cause = errno;
    char text[256];
    va_list values;

    va_start(values, what);
    vsnprintf(text, sizeof text, what, values);
    va_end(values);
    errno = cause;
    fprintf(stderr, "penglai: cannot %s: %m\n", text); /* one call, so that lines of threads stay whole */
    errno = cause;
    return -1;
}
