/* The locks of SQLite's unix VFS: a byte for PENDING, one for RESERVED, 510 that readers share, at 1 GiB,
 * where the file has no bytes. Locks belong to processes, and go with any close of the file. */
#include "say.h"

enum { PENDING = 0x40000000, RESERVED = PENDING + 1, SHARED = PENDING + 2, SHARED_SIZE = 510 };
static int to_child[2], to_parent[2];

static int lock(int fd, int type, off_t start, off_t size) {
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = size};
    return fcntl(fd, F_SETLK, &lock);
}

static void step(const char *what, int result) {
    /* POSIX lets it be either. Linux has EAGAIN. */
    tell(what, result);
}

static void holder(const char *what, int fd, off_t start, off_t size) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = size};
    if (fcntl(fd, F_GETLK, &lock)) {
        tell(what, -1);
        return;
    }
    say("%s: %s at %+ld, %ld bytes, by %s", what,
        lock.l_type == F_UNLCK   ? "free"
        : lock.l_type == F_RDLCK ? "read"
                                 : "written",
        lock.l_type == F_UNLCK ? 0L : (long)(lock.l_start - PENDING),
        lock.l_type == F_UNLCK ? 0L : (long)lock.l_len,
        lock.l_type == F_UNLCK    ? "nobody"
        : lock.l_pid == getppid() ? "the parent"
                                  : "somebody");
}

static void pass(int out, int in) {
    char c = 0;
    write(out, &c, 1);
    if (read(in, &c, 1) != 1) _exit(97);
}

int main(void) {
    char c;
    pipe(to_child), pipe(to_parent);
    int fd = open("db", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    pid_t child = forked();
    if (!child) {
        int mine = open("db", O_RDWR);
        read(to_child[0], &c, 1);
        holder("reader asks for PENDING", mine, PENDING, 1);
        holder("reader asks for SHARED", mine, SHARED, SHARED_SIZE);
        step("reader: SHARED", lock(mine, F_RDLCK, SHARED, SHARED_SIZE));
        pass(to_parent[1], to_child[0]);
        holder("reader asks for RESERVED", mine, RESERVED, 1);
        step("reader: RESERVED", lock(mine, F_WRLCK, RESERVED, 1));
        pass(to_parent[1], to_child[0]);
        step("reader: unlock", lock(mine, F_UNLCK, SHARED, SHARED_SIZE));
        pass(to_parent[1], to_child[0]);
        step("reader: SHARED while EXCLUSIVE", lock(mine, F_RDLCK, SHARED, SHARED_SIZE));
        step("reader: one byte of it", lock(mine, F_RDLCK, SHARED + 7, 1));
        step("reader: the byte behind", lock(mine, F_RDLCK, SHARED + SHARED_SIZE, 1));
        pass(to_parent[1], to_child[0]);
        holder("reader asks after the parent's close", mine, PENDING, SHARED_SIZE + 2);
        step("reader: all of it", lock(mine, F_WRLCK, PENDING, SHARED_SIZE + 2));
        write(to_parent[1], &c, 1);
        _exit(0);
    }
    step("writer: SHARED", lock(fd, F_RDLCK, SHARED, SHARED_SIZE));
    pass(to_child[1], to_parent[0]);
    step("writer: RESERVED", lock(fd, F_WRLCK, RESERVED, 1));
    pass(to_child[1], to_parent[0]);
    step("writer: PENDING", lock(fd, F_WRLCK, PENDING, 1));
    step("writer: EXCLUSIVE while read", lock(fd, F_WRLCK, SHARED, SHARED_SIZE));
    pass(to_child[1], to_parent[0]);
    step("writer: EXCLUSIVE", lock(fd, F_WRLCK, SHARED, SHARED_SIZE));
    pass(to_child[1], to_parent[0]);
    close(open("db", O_RDONLY)); /* what POSIX does to SQLite */
    pass(to_child[1], to_parent[0]);
    reap("reader", child);
    step("writer: after the reader's end", lock(fd, F_WRLCK, PENDING, SHARED_SIZE + 2));
    return 0;
}
