/* Locks between processes: flock, POSIX locks that wait, deadlock, and locks of open files. */
#include "say.h"
#include <sys/file.h>

static int to_child[2], to_parent[2];
static void put(int fd) { write(fd, "x", 1); }
static void get(int fd) {
    char c;
    if (read(fd, &c, 1) != 1) _exit(97);
}

static long lock(int fd, int command, int type, off_t start, off_t size) {
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = size};
    return fcntl(fd, command, &lock);
}

int main(void) {
    pipe(to_child), pipe(to_parent);
    int fd = open("file", O_CREAT | O_RDWR, 0644), again = open("file", O_RDWR);
    write(fd, "0123456789", 10);

    /* flock belongs to the open file: copies share it, fork too, another open of the file does not. */
    tell("flock", flock(fd, LOCK_EX));
    tell("another open", flock(again, LOCK_EX | LOCK_NB));
    tell("another open, shared", flock(again, LOCK_SH | LOCK_NB));
    int copy = dup(fd);
    tell("a copy", flock(copy, LOCK_EX | LOCK_NB));
    pid_t child = forked();
    if (!child) _exit(flock(fd, LOCK_SH) || flock(again, LOCK_SH | LOCK_NB));
    reap("child makes it shared, for both", child);
    tell("shared now", flock(again, LOCK_SH | LOCK_NB));
    tell("not exclusive", flock(again, LOCK_EX | LOCK_NB));
    close(copy);
    tell("unlock", flock(again, LOCK_UN));
    tell("exclusive by one", flock(fd, LOCK_EX | LOCK_NB));
    tell("unknown operation", flock(fd, 77));
    tell("no descriptor", flock(999, LOCK_EX));
    child = forked();
    if (!child) {
        int mine = open("file", O_RDWR);
        put(to_parent[1]);
        tell("child waited", flock(mine, LOCK_EX));
        _exit(0);
    }
    get(to_parent[0]);
    sleep_ms(5);
    say("parent unlocks");
    flock(fd, LOCK_UN);
    reap("child", child);

    /* POSIX locks belong to the process. F_SETLKW waits. */
    tell("F_SETLK", lock(fd, F_SETLK, F_WRLCK, 0, 5));
    tell("same process, another open", lock(again, F_SETLK, F_WRLCK, 0, 5));
    child = forked();
    if (!child) {
        tell("child: not inherited", lock(fd, F_SETLK, F_RDLCK, 0, 5));
        tell("child: next to it", lock(fd, F_SETLK, F_WRLCK, 5, 5));
        put(to_parent[1]);
        tell("child waited", lock(fd, F_SETLKW, F_WRLCK, 2, 1));
        put(to_parent[1]), get(to_child[0]);
        _exit(0);
    }
    get(to_parent[0]);
    sleep_ms(5);
    say("parent unlocks the middle");
    lock(fd, F_SETLK, F_UNLCK, 2, 1);
    get(to_parent[0]);
    struct flock found = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0};
    fcntl(fd, F_GETLK, &found);
    say("held by the child: %s, from %ld, %ld bytes", found.l_pid == child ? "yes" : "no",
        (long)found.l_start, (long)found.l_len);
    put(to_child[1]);
    reap("child", child);
    tell("gone with it", lock(fd, F_SETLK, F_WRLCK, 0, 0));
    lock(fd, F_SETLK, F_UNLCK, 0, 0);

    /* Two that wait for each other. */
    lock(fd, F_SETLK, F_WRLCK, 0, 1);
    child = forked();
    if (!child) {
        lock(fd, F_SETLK, F_WRLCK, 1, 1);
        put(to_parent[1]);
        long result =
            lock(fd, F_SETLKW, F_WRLCK, 0, 1); /* the parent ends its own wait, so this comes to pass */
        _exit(result == 0 ? 0 : 1);
    }
    get(to_parent[0]);
    sleep_ms(15); /* for the child to wait */
    tell("deadlock", lock(fd, F_SETLKW, F_WRLCK, 1, 1));
    lock(fd, F_SETLK, F_UNLCK, 0, 1);
    reap("child", child);
    tell("read lock by a writer only", lock(open("file", O_WRONLY), F_SETLK, F_RDLCK, 0, 1));
    tell("unknown type", lock(fd, F_SETLK, 77, 0, 1));
    tell("negative start", lock(fd, F_SETLK, F_WRLCK, -1, 1));
    tell("negative length", lock(fd, F_SETLK, F_WRLCK, 5, -2));
    lock(fd, F_SETLK, F_UNLCK, 0, 0);

    /* OFD locks: POSIX's ranges, flock's owners. */
    tell("F_OFD_SETLK", lock(fd, F_OFD_SETLK, F_WRLCK, 0, 5));
    tell("another open", lock(again, F_OFD_SETLK, F_WRLCK, 0, 5));
    tell("another range", lock(again, F_OFD_SETLK, F_WRLCK, 5, 5));
    found = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 5};
    tell("F_OFD_GETLK", fcntl(again, F_OFD_GETLK, &found));
    say("held by pid: %d", found.l_pid);
    child = forked();
    if (!child) _exit(lock(fd, F_OFD_SETLK, F_UNLCK, 0, 5) != 0);
    reap("child unlocks for its parent", child);
    tell("free", lock(again, F_OFD_SETLK, F_WRLCK, 0, 5));
    return 0;
}
