/* Files: a buffer before the file system server.
 *
 *     file     ...............|bbbbbbbbbbbbbbbbb|..........
 *                             ^ start   ^ at    ^ start + filled
 *
 * The buffer holds either bytes read (at is the program's position) or bytes to be written (unwritten;
 * at == filled). The server keeps no position: each request says where.
 */
#include "file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs_protocol.h"
#include "lock.h"
#include "print_bytes.h"

static struct file printed = {.handle = PRINTED, .can_write = true, .pushed = EOF};
static struct file empty = {.handle = EMPTY, .can_read = true, .pushed = EOF};

FILE *const stdin = &empty;
FILE *const stdout = &printed;
FILE *const stderr = &printed;

static struct file *open_files;

static int fail(FILE *file, long result)
{
    if (file)
        file->failed = true;
    errno = (int)-result;
    return EOF;
}

/* Writes unwritten bytes, and drops bytes read ahead: then start is the program's position. */
static int settle(FILE *file)
{
    size_t done = 0;

    while (file->unwritten && done < file->filled) {
        uint64_t place = file->start + done;
        long count = fs_write(file->handle, &place, file->buffer + done, file->filled - done);

        if (count <= 0) { /* bytes that could not be written are lost, or the program could never go on */
            file->unwritten = false;
            file->start += done;
            file->at = file->filled = 0;
            return fail(file, count ? count : -EIO);
        }
        file->start = place - done;
        done += (size_t)count;
    }
    file->start += file->at;
    file->at = file->filled = 0;
    file->unwritten = false;
    return 0;
}

static void flush_all(void)
{
    fflush(NULL);
}

/* The flags of a mode, or -1. */
static long flags_of(const char *mode)
{
    long flags;

    switch (*mode++) {
    case 'r': flags = FS_CAN_READ; break;
    case 'w': flags = FS_CAN_WRITE | FS_CREATE | FS_TRUNCATE; break;
    case 'a': flags = FS_CAN_WRITE | FS_CREATE | FS_APPEND; break;
    default: return -1;
    }
    for (; *mode; mode++) {
        if (*mode == '+')
            flags |= FS_CAN_READ | FS_CAN_WRITE;
        else if (*mode == 'x' && flags & FS_CREATE)
            flags |= FS_EXCLUSIVE;
        else if (*mode != 'b' && *mode != 'e')
            return -1;
    }
    return flags;
}

FILE *fopen(const char *name, const char *mode)
{
    LOCKED;
    static bool registered;
    long flags = flags_of(mode);

    if (flags == -1) {
        fail(NULL, -EINVAL);
        return NULL;
    }
    if (!registered)
        registered = atexit(flush_all) == 0;

    FILE *file = malloc(sizeof *file + BUFSIZ);

    if (!file) {
        fail(NULL, -ENOMEM);
        return NULL;
    }
    *file = (FILE){
        .handle = fs_open(name, (uint64_t)flags),
        .can_read = flags & FS_CAN_READ,
        .can_write = flags & FS_CAN_WRITE,
        .append = flags & FS_APPEND,
        .pushed = EOF,
        .buffer = (unsigned char *)(file + 1),
    };
    if (file->handle < 0) {
        fail(NULL, file->handle);
        free(file);
        return NULL;
    }
    if (file->append) {
        long size = fs_size(file->handle);

        file->start = size > 0 ? (uint64_t)size : 0;
    }
    file->next = open_files;
    open_files = file;
    return file;
}

int fclose(FILE *file)
{
    LOCKED;
    if (!file->buffer)
        return 0;

    int failed = settle(file);
    long result = fs_close(file->handle);

    for (FILE **link = &open_files; *link; link = &(*link)->next)
        if (*link == file) {
            *link = file->next;
            break;
        }
    free(file);
    return result < 0 ? fail(NULL, result) : failed;
}

int fflush(FILE *file)
{
    LOCKED;
    int result = 0;

    if (file && !file->buffer) {
        print_waiting();
        return 0;
    }
    if (file)
        return file->unwritten ? settle(file) : 0;
    print_waiting();
    for (file = open_files; file; file = file->next)
        if (fflush(file))
            result = EOF;
    return result;
}

/* Reads the next part of the file into the buffer; false at the end, or when that failed. */
static bool fill(FILE *file)
{
    if (!file->buffer) {
        file->at_end = true;
        return false;
    }
    if (settle(file))
        return false;

    long count = fs_read(file->handle, file->start, file->buffer, BUFSIZ);

    if (count < 0)
        fail(file, count);
    else if (count == 0)
        file->at_end = true;
    else
        file->filled = (size_t)count;
    return count > 0;
}

size_t fread(void *memory, size_t size, size_t count, FILE *file)
{
    LOCKED;
    unsigned char *to = memory;
    size_t wanted, done = 0;

    if (__builtin_mul_overflow(size, count, &wanted) || !file->can_read) {
        fail(file, file->can_read ? -EINVAL : -EBADF);
        return 0;
    }
    if (wanted && file->pushed != EOF) {
        to[done++] = (unsigned char)file->pushed;
        file->pushed = EOF;
    }
    while (done < wanted) {
        if ((file->unwritten || file->at == file->filled) && !fill(file))
            break;

        size_t part = file->filled - file->at;

        part = part < wanted - done ? part : wanted - done;
        memcpy(to + done, file->buffer + file->at, part);
        file->at += part;
        done += part;
    }
    return wanted ? done / size : 0;
}

size_t fwrite(const void *memory, size_t size, size_t count, FILE *file)
{
    LOCKED;
    const unsigned char *from = memory;
    size_t wanted, done = 0;

    if (__builtin_mul_overflow(size, count, &wanted) || !file->can_write) {
        fail(file, file->can_write ? -EINVAL : -EBADF);
        return 0;
    }
    if (!wanted)
        return 0;
    if (!file->buffer) {
        print_bytes(memory, wanted);
        return count;
    }
    if (!file->unwritten) {
        fseek(file, 0, SEEK_CUR);
        file->pushed = EOF;
    }
    while (done < wanted) {
        if (file->filled == BUFSIZ && settle(file))
            break;

        size_t part = BUFSIZ - file->filled;

        part = part < wanted - done ? part : wanted - done;
        memcpy(file->buffer + file->filled, from + done, part);
        file->at = file->filled += part;
        file->unwritten = true;
        done += part;
    }
    return done / size;
}

long ftell(FILE *file)
{
    LOCKED;
    if (!file->buffer)
        return fail(NULL, -ESPIPE);

    long position = (long)(file->start + file->at);

    return position - (file->pushed != EOF && position > 0);
}

int fseek(FILE *file, long offset, int whence)
{
    LOCKED;
    long from = 0, target;

    if (!file->buffer)
        return fail(NULL, -ESPIPE);
    if (whence == SEEK_CUR)
        from = ftell(file);
    if (settle(file))
        return EOF;
    if (whence == SEEK_END)
        from = fs_size(file->handle);
    if (from < 0)
        return fail(file, from);
    if ((whence != SEEK_SET && whence != SEEK_CUR && whence != SEEK_END) ||
        __builtin_add_overflow(from, offset, &target) || target < 0)
        return fail(NULL, -EINVAL);
    file->start = (uint64_t)target;
    file->pushed = EOF;
    file->at_end = false;
    return 0;
}

void rewind(FILE *file)
{
    fseek(file, 0, SEEK_SET);
    clearerr(file);
}

int feof(FILE *file)
{
    return file->at_end;
}

int ferror(FILE *file)
{
    return file->failed;
}

void clearerr(FILE *file)
{
    file->at_end = file->failed = false;
}

int remove(const char *name)
{
    long result = fs_remove(name);

    return result < 0 ? fail(NULL, result) : 0;
}

int rename(const char *from, const char *to)
{
    long result = fs_rename(from, to);

    return result < 0 ? fail(NULL, result) : 0;
}
