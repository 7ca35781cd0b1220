/* Corners of a process: `exit` ends a thread when no memory is left, `execute` maps device memory to execute it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <fcntl.h>
#include <unistd.h>
#include <sys/syscall.h>

struct get { int key; unsigned long size; int flags; };
struct attach { int id; unsigned long address, size; int flags; };

static int ends_without_memory(void)
{
    long *tid = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *all = mmap(0, 1UL << 33, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    syscall(SYS_set_tid_address, tid);
    for (long at = 0; syscall(SYS_clock_gettime, 0, all + at) == 0; at += 4096)
        ;
    syscall(SYS_exit, 7);
    return 1;
}

static int executes_device_memory(void)
{
    int device = open("/dev/penglai_enclave_dev", O_RDWR);
    struct get get = {0, 4096, 0};
    struct attach attach = {ioctl(device, 0xa410, &get), 0, 0, 0};
    void *page;

    ioctl(device, 0xa411, &attach);
    if (mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, device, 0) != MAP_FAILED || errno != EPERM)
        return 1;
    page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
    if (page == MAP_FAILED || mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0 || errno != EACCES)
        return 2;
    *(volatile int *)page = 1;
    return 0;
}

int main(int count, char **arguments)
{
    return strcmp(arguments[1], "exit") == 0 ? ends_without_memory() : executes_device_memory();
}
