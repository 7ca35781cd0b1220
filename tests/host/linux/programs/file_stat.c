/* stat, fstat, statx: kinds, sizes, and that they agree. */
#include "say.h"
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

static const char *kind(mode_t mode) {
    switch (mode & S_IFMT) {
    case S_IFREG: return "file";
    case S_IFDIR: return "folder";
    case S_IFLNK: return "link";
    case S_IFIFO: return "fifo";
    case S_IFCHR: return "character device";
    case S_IFSOCK: return "socket";
    case S_IFBLK: return "block device";
    }
    return "another";
}

int main(void) {
    struct stat a, b;
    int fd = open("file", O_CREAT | O_RDWR, 0640);
    write(fd, "0123456789", 10);
    mkdir("dir", 0755), symlink("file", "link"), mkfifo("fifo", 0600);
    static const char *paths[] = {"file", "dir", "link", "fifo", "/dev/null", "/dev/zero", "."};
    for (int i = 0; i < 7; i++)
        say("%s: %s", paths[i], lstat(paths[i], &a) ? error_name(errno) : kind(a.st_mode));
    stat("/dev/null", &a);
    say("/dev/null: %u, %u", major(a.st_rdev), minor(a.st_rdev));
    tell("fstat", fstat(fd, &a));
    stat("file", &b);
    yes("stat agrees",
        a.st_ino == b.st_ino && a.st_dev == b.st_dev && a.st_mode == b.st_mode && a.st_size == b.st_size);
    say("size: %ld, mode: %o, links: %ld", (long)a.st_size, a.st_mode, (long)a.st_nlink);
    yes("it is mine", a.st_uid == geteuid());
    yes("it has an inode", a.st_ino != 0);
    yes("blocks hold it", a.st_blksize > 0);
    tell("stat of nothing", stat("none", &a));
    tell("stat through a file", stat("file/x", &a));
    tell("fstat of no descriptor", fstat(999, &a));
    tell("stat into nowhere", syscall(SYS_newfstatat, AT_FDCWD, "file", (void *)8, 0));
    tell("stat of an empty path", stat("", &a));
    tell("AT_EMPTY_PATH", fstatat(fd, "", &a, AT_EMPTY_PATH));
    yes("the same", a.st_ino == b.st_ino);
    tell("unknown flag", fstatat(AT_FDCWD, "file", &a, 0x40000000));

    struct statx x;
    tell("statx", statx(AT_FDCWD, "file", 0, STATX_BASIC_STATS, &x));
    yes("it says all that was asked for", (x.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS);
    yes("it agrees",
        x.stx_ino == b.st_ino && x.stx_size == 10 && x.stx_mode == b.st_mode && x.stx_nlink == 1);
    yes("so do its times",
        x.stx_mtime.tv_sec == b.st_mtim.tv_sec && x.stx_mtime.tv_nsec == b.st_mtim.tv_nsec);
    tell("of a link", statx(AT_FDCWD, "link", AT_SYMLINK_NOFOLLOW, STATX_TYPE, &x));
    say("it is a %s", kind(x.stx_mode));
    tell("of a descriptor", statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &x));
    say("size: %ld", (long)x.stx_size);
    tell("unknown flag", statx(AT_FDCWD, "file", 0x40000000, STATX_SIZE, &x));
    tell("reserved mask", statx(AT_FDCWD, "file", 0, 0x80000000u, &x));

    /* Sizes follow writes at once, through every descriptor. */
    int other = open("file", O_WRONLY | O_APPEND);
    write(other, "abc", 3);
    fstat(fd, &a);
    say("size: %ld", (long)a.st_size);
    pwrite(fd, "z", 1, 99);
    stat("file", &a);
    say("size: %ld", (long)a.st_size);
    lstat("link", &a);
    say("size of a link: %ld", (long)a.st_size);

    struct statfs fs;
    struct statvfs vfs;
    tell("statfs", statfs(".", &fs));
    yes("blocks have a size", fs.f_bsize > 0);
    say("longest name: %ld", (long)fs.f_namelen);
    tell("statvfs", statvfs("file", &vfs));
    tell("fstatfs", fstatfs(fd, &fs));
    tell("statfs of nothing", statfs("none", &fs));
    int ends[2];
    pipe(ends);
    fstat(ends[0], &a);
    say("a pipe: %s, %ld bytes", kind(a.st_mode), (long)a.st_size);
    return 0;
}
