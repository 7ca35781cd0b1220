/* Memory shared with enclaves, and relay pages: get, attach, detach, remove (ABI sections 7 and 8).
 *
 * Attaching is a request that prepares the pages, then an mmap of the same descriptor. So each call opens the device
 * again: threads cannot map each other's pages, and a mapping outlives its descriptor. No state is kept here: the
 * driver knows sizes and attachments.
 */
#include "internal.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096UL

static const char *name(int kind)
{
    return kind == PENGLAI_SHM ? "shared memory" : "relay pages";
}

/* One request on a descriptor of its own; -1 with errno. */
static int request(unsigned long number, void *param)
{
    int fd = penglai_open();

    if (fd < 0)
        return -1;
    int result = ioctl(fd, number, param);
    int cause = errno;

    close(fd);
    errno = cause;
    return result;
}

static int get(int kind, size_t size)
{
    struct penglai_shmget_param param = {.size = (size + PAGE - 1) & ~(PAGE - 1)};
    int id = -1;

    if (size == 0 || param.size < size)
        errno = EINVAL;
    else
        id = request(PENGLAI_IOC_GET(kind), &param);
    return id < 0 ? penglai_failed("get %zu bytes of %s", size, name(kind)) : id;
}

static void *map(int fd, int kind, int id, void *where)
{
    struct penglai_shmat_param param = {.id = id, .addr = (uintptr_t)where};

    if (ioctl(fd, PENGLAI_IOC_ATTACH(kind), &param) < 0)
        return MAP_FAILED;

    void *address = mmap(where, param.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (address == MAP_FAILED) {
        int cause = errno;
        struct penglai_shmdt_param undo = {.id = id};

        ioctl(fd, PENGLAI_IOC_DETACH(kind), &undo);
        errno = cause;
    }
    return address;
}

static void *attach(int kind, int id, void *where)
{
    int fd = penglai_open();
    void *address = fd < 0 ? MAP_FAILED : map(fd, kind, id, where);

    if (address == MAP_FAILED)
        penglai_failed("attach %s %d", name(kind), id);
    if (fd >= 0)
        close(fd);
    return address;
}

/* The driver says how much was mapped. */
static int detach(int kind, int id, void *address)
{
    struct penglai_shmdt_param param = {.id = id, .addr = (uintptr_t)address};
    int result = request(PENGLAI_IOC_DETACH(kind), &param);

    if (result == 0)
        result = munmap(address, param.size);
    return result < 0 ? penglai_failed("detach %s %d", name(kind), id) : 0;
}

static int remove_id(int kind, int id)
{
    struct penglai_shmctl_param param = {.id = id};

    return request(PENGLAI_IOC_REMOVE(kind), &param) < 0 ? penglai_failed("remove %s %d", name(kind), id) : 0;
}

int PLenclave_shmget(size_t size)
{
    return get(PENGLAI_SHM, size);
}

void *PLenclave_shmat(int id, void *where)
{
    return attach(PENGLAI_SHM, id, where);
}

int PLenclave_shmdt(int id, void *address)
{
    return detach(PENGLAI_SHM, id, address);
}

int PLenclave_shmctl(int id)
{
    return remove_id(PENGLAI_SHM, id);
}

int PLenclave_schrodinger_get(size_t size)
{
    return get(PENGLAI_SCHRODINGER, size);
}

void *PLenclave_schrodinger_at(int id, void *where)
{
    return attach(PENGLAI_SCHRODINGER, id, where);
}

int PLenclave_schrodinger_dt(int id, void *address)
{
    return detach(PENGLAI_SCHRODINGER, id, address);
}

int PLenclave_schrodinger_ctl(int id)
{
    return remove_id(PENGLAI_SCHRODINGER, id);
}

int PLenclave_persistency_init(int shmid)
{
    int32_t param = shmid;

    if (request(PENGLAI_ENCLAVE_IOC_PERSISTENCY_INIT, &param) < 0)
        return penglai_failed("use shared memory %d for persistency", shmid);
    return 0;
}

int eapp_persistency_init(int shmid)
{
    return PLenclave_persistency_init(shmid);
}
