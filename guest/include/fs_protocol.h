/* The protocol between a client and the file system server.
 *
 * The server is a server enclave called "filesystem". One request is one call_enclave:
 *
 *     req_arg     what to do: enum fs_operation
 *     req_vaddr   pages of the client: struct fs_request at the start, data from FS_DATA on
 *     req_size    their size: at least one page
 *     resp_val    the result: 0 or more, or an error number of errno.h with a minus sign
 *
 * The pages move to the server and come back, so neither side can change them while the other reads them, and no
 * byte is copied on the way. Data takes as many pages as the client adds: req_size - FS_DATA bytes.
 *
 *     operation   fields used                        result
 *     FS_OPEN     name, flags                        handle
 *     FS_CLOSE    handle                             0
 *     FS_READ     handle, offset, size               bytes read into the data; 0 at the end of the file
 *     FS_WRITE    handle, offset, size, data         bytes written; offset: where (with FS_APPEND: the end)
 *     FS_SIZE     handle                             bytes in the file
 *     FS_REMOVE   name                               0; handles of the file end
 *     FS_RENAME   name, new_name                     0; a file called new_name is replaced
 *     FS_LIST     offset, size                       number of struct fs_entry in the data, from entry offset on
 *
 * A name is any text of 1 to 63 bytes without control characters, NUL included in its field. There are no
 * directories: "/" is a character like others. A handle belongs to the client that opened it (get_caller_id).
 */
#ifndef PLTVM_FS_PROTOCOL_H
#define PLTVM_FS_PROTOCOL_H

#include <stdint.h>

#include "eapp.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FS_SERVER "filesystem"
#define FS_NAME_SIZE 64 /* with the NUL */
#define FS_DATA PAGE_SIZE

enum fs_operation {
    FS_OPEN = 1,
    FS_CLOSE = 2,
    FS_READ = 3,
    FS_WRITE = 4,
    FS_SIZE = 5,
    FS_REMOVE = 6,
    FS_RENAME = 7,
    FS_LIST = 8,
};

enum fs_flags {
    FS_CAN_READ = 1,
    FS_CAN_WRITE = 2,
    FS_CREATE = 4,     /* make the file if there is none; the flags below and this one need FS_CAN_WRITE */
    FS_EXCLUSIVE = 8,  /* with FS_CREATE: fail if there is one */
    FS_TRUNCATE = 16,  /* empty it */
    FS_APPEND = 32,    /* write at the end that the file has then */
    FS_ALL_FLAGS = 63,
};

struct fs_request {
    uint64_t handle;
    uint64_t flags;
    uint64_t offset;
    uint64_t size;
    char name[FS_NAME_SIZE];
    char new_name[FS_NAME_SIZE];
};

struct fs_entry {
    uint64_t size;
    char name[FS_NAME_SIZE];
};

/* The client's side, in lib/fs_client.c: one function an operation; stdio.h is made from these. The result is the
 * operation's; -ENODEV when there is no server, -EBUSY when it stays busy, -EIO when it misbehaves.
 */
long fs_open(const char *name, uint64_t flags);
long fs_close(long handle);
long fs_read(long handle, uint64_t offset, void *memory, uint64_t size);
long fs_write(long handle, uint64_t *offset, const void *memory, uint64_t size);
long fs_size(long handle);
long fs_remove(const char *name);
long fs_rename(const char *name, const char *new_name);
long fs_list(uint64_t first, struct fs_entry *entries, uint64_t count);

#ifdef __cplusplus
}
#endif

#endif
