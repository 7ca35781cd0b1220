/* The device file, and the words for what differs. */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "peer.h"

struct program *programs;

static const char *errno_name(long error)
{
    switch (error) {
    case EPERM:
        return "EPERM";
    case EFAULT:
        return "EFAULT";
    case EINVAL:
        return "EINVAL";
    case ENOMEM:
        return "ENOMEM";
    case ENOTTY:
        return "ENOTTY";
    case EAGAIN:
        return "EAGAIN";
    case EBUSY:
        return "EBUSY";
    case EACCES:
        return "EACCES";
    case EBADF:
        return "EBADF";
    case ENODEV:
        return "ENODEV";
    case EINTR:
        return "EINTR";
    default:
        return "another errno";
    }
}

static void tell(long value)
{
    if (value < 0 && value > -4096)
        printf("-1 with errno %ld (%s)", -value, errno_name(-value));
    else
        printf("0x%lx", value);
}

void differ(const char *file, int line, const char *what, long got, long wanted)
{
    const char *slash = strrchr(file, '/');

    printf("peer: %s:%d: %s gives ", slash ? slash + 1 : file, line, what);
    tell(got);
    printf(", and should give ");
    tell(wanted);
    printf("\n");
    fflush(stdout);
    _exit(9);
}

int device_open(void)
{
    int fd = open("/dev/penglai_enclave_dev", O_RDWR);

    if (fd < 0)
        differ(__FILE__, __LINE__, "open(\"/dev/penglai_enclave_dev\")", -errno, 3);
    return fd;
}

long device(int fd, unsigned long request, void *param)
{
#ifdef __GLIBC__
    int result = ioctl(fd, request, param);
#else
    int result = ioctl(fd, (int)request, param); /* POSIX: an int, so the number arrives with its sign extended */
#endif

    return result < 0 ? -errno : result;
}

long device_once(unsigned long request, void *param)
{
    int fd = device_open();
    long result = device(fd, request, param);

    MUST(close(fd), 0);
    return result;
}

void *device_map(int fd, size_t size, long *error)
{
    void *address = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    *error = address == MAP_FAILED ? -errno : 0;
    return address == MAP_FAILED ? NULL : address;
}

int main(int count, char **arguments)
{
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    for (struct program *program = programs; program && count > 1; program = program->next) {
        if (strcmp(program->name, arguments[1]) == 0) {
            program->run(arguments + 2);
            printf("%s: ok\n", program->name);
            return 0;
        }
    }
    printf("usage: peer NAME [ARGUMENTS]\n");
    return 2;
}
