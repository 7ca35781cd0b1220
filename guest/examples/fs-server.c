/* The server filesystem: files in its memory and, if the host gives it one, on a disk.
 *
 * The protocol is in fs_protocol.h, the file system itself in fs-image.h. It is on the disk when the host shares
 * memory with the server and names it for persistency, else it lasts as long as the server. All clients share the
 * files; open handles are a client's own.
 *
 * Clients are not trusted: names, sizes and offsets are checked before use, and who asks is what the monitor says
 * (get_caller_id). The host is not either, but it can read the disk and turn it back: a client that minds encrypts
 * its files with a key from eapp_derive_key.
 */
#include "fs-image.h"

#define HANDLES 64
#define HANDLES_OF_ONE 16

struct handle {
    struct inode *inode; /* NULL: the handle is free */
    long owner;
    unsigned long flags;
    unsigned long last_use;
};

static struct handle handles[HANDLES];
static unsigned long requests;

/* -- handles --------------------------------------------------------------------------------------------------- */

static struct handle *handle_of(long client, uint64_t number)
{
    struct handle *handle = number < HANDLES ? &handles[number] : NULL;

    if (!handle || !handle->inode || handle->owner != client)
        return NULL;
    handle->last_use = requests;
    return handle;
}

/* A free handle; when there is none, the one that was not used for longest: its client may have ended. */
static struct handle *take_handle(long client)
{
    struct handle *best = &handles[0];
    unsigned own = 0;

    for (struct handle *handle = handles; handle < handles + HANDLES; handle++) {
        own += handle->inode && handle->owner == client;
        if (best->inode && (!handle->inode || handle->last_use < best->last_use))
            best = handle;
    }
    return own < HANDLES_OF_ONE ? best : NULL;
}

static void end_handles(const struct inode *inode)
{
    for (struct handle *handle = handles; handle < handles + HANDLES; handle++)
        if (handle->inode == inode)
            handle->inode = NULL;
}

/* -- operations: each gives the result or an error number with a minus sign --------------------------------------- */

/* The inode stays, without content. */
static long empty(struct inode *inode)
{
    struct inode old = *inode;

    inode->size = 0;
    memset(inode->blocks, 0, sizeof inode->blocks);
    free_blocks(&old);
    return save_inode(inode) | save(BITMAP);
}

static long delete(struct inode *inode)
{
    end_handles(inode);
    inode->name[0] = '\0';
    return empty(inode);
}

static long make(const char *name, struct inode **made)
{
    for (struct inode *inode = inodes; inode < inodes + INODES; inode++)
        if (!inode->name[0]) {
            memset(inode, 0, sizeof *inode);
            strncpy(inode->name, name, FS_NAME_SIZE);
            *made = inode;
            return save_inode(inode);
        }
    return -ENFILE;
}

static long open(long client, const struct fs_request *request)
{
    unsigned long flags = request->flags;
    long failed = 0;

    if (flags & ~(unsigned long)FS_ALL_FLAGS || !(flags & (FS_CAN_READ | FS_CAN_WRITE)) ||
        (flags & (FS_CREATE | FS_EXCLUSIVE | FS_TRUNCATE | FS_APPEND) && !(flags & FS_CAN_WRITE)))
        return -EINVAL;
    if (!good_name(request->name))
        return -EINVAL;

    struct handle *handle = take_handle(client);
    struct inode *inode = find(request->name);

    if (!handle)
        return -EMFILE;
    if (!inode && !(flags & FS_CREATE))
        return -ENOENT;
    if (inode && flags & FS_EXCLUSIVE)
        return -EEXIST;
    if (!inode)
        failed = make(request->name, &inode);
    else if (flags & FS_TRUNCATE)
        failed = empty(inode);
    if (failed)
        return failed;
    *handle = (struct handle){inode, client, flags, requests};
    return handle - handles;
}

static long read(const struct handle *handle, const struct fs_request *request, unsigned char *data, uint64_t room)
{
    const struct inode *inode = handle->inode;
    uint64_t offset = request->offset, size = request->size, done = 0;

    if (!(handle->flags & FS_CAN_READ))
        return -EBADF;
    if (size > room)
        return -EINVAL;
    if (offset >= inode->size)
        return 0;
    if (size > inode->size - offset)
        size = inode->size - offset;
    while (done < size) {
        uint64_t in_block = (offset + done) % PAGE_SIZE;
        unsigned block = inode->blocks[(offset + done) / PAGE_SIZE];
        uint64_t part = PAGE_SIZE - in_block < size - done ? PAGE_SIZE - in_block : size - done;

        if (block)
            memcpy(data + done, image[block] + in_block, part);
        else
            memset(data + done, 0, part);
        done += part;
    }
    return (long)done;
}

static long write(const struct handle *handle, struct fs_request *request, const unsigned char *data, uint64_t room)
{
    struct inode *inode = handle->inode;
    uint64_t offset = handle->flags & FS_APPEND ? inode->size : request->offset;
    uint64_t size = request->size, done = 0;
    long failed = 0;

    if (!(handle->flags & FS_CAN_WRITE))
        return -EBADF;
    if (size > room)
        return -EINVAL;
    request->offset = offset;
    if (size == 0)
        return 0;
    if (offset >= LARGEST_FILE)
        return -EFBIG;
    if (size > LARGEST_FILE - offset)
        size = LARGEST_FILE - offset;
    while (done < size) {
        uint64_t in_block = (offset + done) % PAGE_SIZE;
        uint16_t *block = &inode->blocks[(offset + done) / PAGE_SIZE];
        uint64_t part = PAGE_SIZE - in_block < size - done ? PAGE_SIZE - in_block : size - done;

        if (!*block)
            *block = (uint16_t)take_block();
        if (!*block)
            break;
        memcpy(image[*block] + in_block, data + done, part);
        failed |= save(*block);
        done += part;
    }
    if (done && offset + done > inode->size)
        inode->size = (uint32_t)(offset + done);
    failed |= save(BITMAP) | save_inode(inode);
    if (failed)
        return -EIO;
    return done ? (long)done : -ENOSPC;
}

static long rename(const struct fs_request *request)
{
    struct inode *inode = find(request->name), *replaced = find(request->new_name);

    if (!good_name(request->new_name))
        return -EINVAL;
    if (!inode)
        return -ENOENT;
    if (inode == replaced)
        return 0;
    if (replaced && delete(replaced))
        return -EIO;
    strncpy(inode->name, request->new_name, FS_NAME_SIZE);
    return save_inode(inode);
}

static long list(const struct fs_request *request, unsigned char *data, uint64_t room)
{
    uint64_t number = 0;
    long count = 0;

    if (request->size > room)
        return -EINVAL;
    for (const struct inode *inode = inodes; inode < inodes + INODES; inode++) {
        if (!inode->name[0] || number++ < request->offset)
            continue;
        if ((uint64_t)(count + 1) * sizeof(struct fs_entry) > request->size)
            break;

        struct fs_entry entry = {.size = inode->size};

        memcpy(entry.name, inode->name, FS_NAME_SIZE);
        memcpy(data + (uint64_t)count++ * sizeof entry, &entry, sizeof entry);
    }
    return count;
}

static long serve(unsigned long operation, struct fs_request *request, uint64_t size)
{
    long client = get_caller_id();
    unsigned char *data = (unsigned char *)request + FS_DATA;
    uint64_t room = size - FS_DATA;
    struct handle *handle = NULL;

    requests++;
    if (operation == FS_CLOSE || operation == FS_READ || operation == FS_WRITE || operation == FS_SIZE) {
        handle = handle_of(client, request->handle);
        if (!handle)
            return -EBADF;
    }
    if ((operation == FS_REMOVE || operation == FS_RENAME) && !good_name(request->name))
        return -EINVAL;

    switch (operation) {
    case FS_OPEN: return open(client, request);
    case FS_CLOSE: handle->inode = NULL; return 0;
    case FS_READ: return read(handle, request, data, room);
    case FS_WRITE: return write(handle, request, data, room);
    case FS_SIZE: return handle->inode->size;
    case FS_REMOVE: {
        struct inode *inode = find(request->name);

        return inode ? delete(inode) : -ENOENT;
    }
    case FS_RENAME: return rename(request);
    case FS_LIST: return list(request, data, room);
    default: return -ENOSYS;
    }
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    unsigned long operation = args[10];
    unsigned long req_vaddr = args[11];
    unsigned long req_size = args[12];
    void *shared = args[14] >= PAGE_SIZE ? (void *)args[13] : NULL;
    struct call_enclave_arg_t ret = {.req_vaddr = req_vaddr, .req_size = req_size};
    long result = -EINVAL;

    if (!image && !mount(shared))
        result = -ENOMEM;
    else if (req_vaddr) /* then it is at least one page: the monitor sees to that */
        result = serve(operation, (struct fs_request *)req_vaddr, req_size);
    ret.resp_val = (unsigned long)result;
    SERVER_RETURN(&ret);
}
