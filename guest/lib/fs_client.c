/* The client's side of fs_protocol.h. One set of pages goes to the server and back for all requests. */
#include <errno.h>
#include <string.h>

#include "fs_protocol.h"
#include "lock.h"

#define DATA_SIZE (2 * PAGE_SIZE)
#define TRIES 1000 /* for a server that is busy with a client which the host does not run */

static struct fs_request *request; /* NULL: no pages yet, or the server kept them */
static unsigned char *data;

/* Makes sure that there are pages, with empty fields. */
static long prepare(void)
{
    if (!request) {
        request = eapp_mmap(NULL, FS_DATA + DATA_SIZE);
        if (!request)
            return -ENOMEM;
    }
    data = (unsigned char *)request + FS_DATA;
    memset(request, 0, sizeof *request);
    return 0;
}

static long put_name(char *field, const char *name)
{
    if (strnlen(name, FS_NAME_SIZE) == FS_NAME_SIZE)
        return -ENAMETOOLONG;
    strncpy(field, name, FS_NAME_SIZE);
    return 0;
}

/* Sends the request. The server is looked up each time: it may have been replaced. */
static long send(enum fs_operation operation)
{
    struct call_enclave_arg_t arg = {
        .req_arg = operation,
        .req_vaddr = (unsigned long)request,
        .req_size = FS_DATA + DATA_SIZE,
    };
    long server = acquire_enclave(FS_SERVER);
    long result = -1;

    if (server == -1)
        return -ENODEV;
    for (int i = 0; i < TRIES; i++) {
        result = call_enclave((unsigned long)server, &arg);
        if (result != -2)
            break;
        eapp_yield();
    }
    if (result != 0)
        return result == -2 ? -EBUSY : -EIO;
    request = (struct fs_request *)arg.req_vaddr;
    if (!request)
        return -EIO;
    data = (unsigned char *)request + FS_DATA;
    return (long)arg.resp_val;
}

static long send_name(enum fs_operation operation, const char *name, const char *new_name, uint64_t flags)
{
    long failed = prepare();

    if (!failed)
        failed = put_name(request->name, name);
    if (!failed)
        failed = put_name(request->new_name, new_name);
    if (failed)
        return failed;
    request->flags = flags;
    return send(operation);
}

static long send_handle(enum fs_operation operation, long handle)
{
    long failed = prepare();

    if (failed)
        return failed;
    request->handle = (uint64_t)handle;
    return send(operation);
}

long fs_open(const char *name, uint64_t flags)
{
    LOCKED;
    return send_name(FS_OPEN, name, "", flags);
}

long fs_close(long handle)
{
    LOCKED;
    return send_handle(FS_CLOSE, handle);
}

long fs_size(long handle)
{
    LOCKED;
    return send_handle(FS_SIZE, handle);
}

long fs_remove(const char *name)
{
    LOCKED;
    return send_name(FS_REMOVE, name, "", 0);
}

long fs_rename(const char *name, const char *new_name)
{
    LOCKED;
    return send_name(FS_RENAME, name, new_name, 0);
}

/* At most DATA_SIZE bytes in one go; fewer is no error. */
long fs_read(long handle, uint64_t offset, void *memory, uint64_t size)
{
    LOCKED;
    long failed = prepare();

    if (failed)
        return failed;
    request->handle = (uint64_t)handle;
    request->offset = offset;
    request->size = size < DATA_SIZE ? size : DATA_SIZE;
    size = request->size;

    long count = send(FS_READ);

    if (count > (long)size)
        return -EIO;
    if (count > 0)
        memcpy(memory, data, (size_t)count);
    return count;
}

/* As fs_read. *offset becomes the place that was written to. */
long fs_write(long handle, uint64_t *offset, const void *memory, uint64_t size)
{
    LOCKED;
    long failed = prepare();

    if (failed)
        return failed;
    request->handle = (uint64_t)handle;
    request->offset = *offset;
    request->size = size < DATA_SIZE ? size : DATA_SIZE;
    size = request->size;
    memcpy(data, memory, size);

    long count = send(FS_WRITE);

    if (count > (long)size)
        return -EIO;
    if (count >= 0)
        *offset = request->offset;
    return count;
}

long fs_list(uint64_t first, struct fs_entry *entries, uint64_t most)
{
    LOCKED;
    long failed = prepare();
    uint64_t fit = DATA_SIZE / sizeof *entries;

    if (failed)
        return failed;
    most = most < fit ? most : fit;
    request->offset = first;
    request->size = most * sizeof *entries;

    long count = send(FS_LIST);

    if (count > (long)most)
        return -EIO;
    for (long i = 0; i < count; i++) {
        memcpy(&entries[i], data + (size_t)i * sizeof *entries, sizeof *entries);
        entries[i].name[FS_NAME_SIZE - 1] = '\0';
    }
    return count;
}
