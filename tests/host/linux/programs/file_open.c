/* open's flags, alone and together, and what fcntl tells of them. */
#include "say.h"
#include <sys/stat.h>

static int fd;
static long opened(const char *path, int flags) {
    fd = open(path, flags, 0644);
    return fd >= 0 ? 0 : -1;
}

int main(void) {
    char buffer[16];
    struct stat status;
    tell("no such file", opened("file", O_RDWR));
    tell("O_EXCL", opened("file", O_CREAT | O_EXCL | O_WRONLY));
    write(fd, "0123456789", 10);
    tell("O_EXCL of what is there", opened("file", O_CREAT | O_EXCL | O_WRONLY));
    tell("O_CREAT of what is there", opened("file", O_CREAT | O_RDONLY));
    tell("write to a reader", write(fd, "x", 1));
    tell("O_WRONLY", opened("file", O_WRONLY));
    tell("read from a writer", read(fd, buffer, 1));
    tell("O_APPEND", opened("file", O_RDWR | O_APPEND));
    lseek(fd, 0, SEEK_SET);
    write(fd, "AB", 2);
    tell("position", lseek(fd, 0, SEEK_CUR));
    tell("pwrite appends too", pwrite(fd, "C", 1, 0)); /* a bug of Linux's that it keeps */
    stat("file", &status);
    say("size: %ld", (long)status.st_size);
    tell("O_TRUNC", opened("file", O_WRONLY | O_TRUNC));
    stat("file", &status);
    say("size: %ld", (long)status.st_size);
    mkdir("dir", 0755);
    tell("O_DIRECTORY of a file", opened("file", O_RDONLY | O_DIRECTORY));
    tell("O_DIRECTORY", opened("dir", O_RDONLY | O_DIRECTORY));
    tell("a folder for writing", opened("dir", O_WRONLY));
    tell("a folder with O_CREAT", opened("dir", O_RDONLY | O_CREAT));
    tell("a folder with O_TRUNC", opened("dir", O_RDONLY | O_TRUNC));
    symlink("file", "link");
    tell("O_NOFOLLOW", opened("link", O_RDONLY | O_NOFOLLOW));
    tell("O_NOFOLLOW of a file", opened("file", O_RDONLY | O_NOFOLLOW));
    tell("O_PATH", opened("file", O_PATH));
    tell("read of it", read(fd, buffer, 1));
    tell("fstat of it", fstat(fd, &status));
    tell("ftruncate of it", ftruncate(fd, 0));
    yes("F_GETFL tells", fcntl(fd, F_GETFL) & O_PATH);
    tell("O_PATH of a link", opened("link", O_PATH | O_NOFOLLOW));
    fstat(fd, &status);
    yes("the link itself", S_ISLNK(status.st_mode));
    tell("a file through a file", opened("file/x", O_RDONLY));
    tell("a new one with a slash", opened("new/", O_CREAT | O_WRONLY));
    tell("in no folder", opened("none/x", O_CREAT | O_WRONLY));
    tell("empty path", opened("", O_RDONLY));
    tell("null path", opened(0, O_RDONLY));

    opened("file", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    say("F_GETFD: %d", fcntl(fd, F_GETFD));
    int flags = fcntl(fd, F_GETFL);
    yes("F_GETFL", (flags & O_ACCMODE) == O_RDWR && flags & O_NONBLOCK && !(flags & (O_CREAT | O_CLOEXEC)));
    tell("F_SETFL", fcntl(fd, F_SETFL, O_APPEND | O_WRONLY | O_TRUNC));
    flags = fcntl(fd, F_GETFL);
    yes("changes only what it may",
        (flags & O_ACCMODE) == O_RDWR && flags & O_APPEND && !(flags & O_NONBLOCK));
    tell("F_SETFD", fcntl(fd, F_SETFD, 0));
    say("F_GETFD: %d", fcntl(fd, F_GETFD));
    tell("F_DUPFD", fcntl(fd, F_DUPFD, 60));
    tell("F_DUPFD", fcntl(fd, F_DUPFD, 60));
    tell("F_DUPFD_CLOEXEC", fcntl(fd, F_DUPFD_CLOEXEC, 60));
    say("F_GETFD: %d", fcntl(62, F_GETFD));
    tell("F_DUPFD, negative", fcntl(fd, F_DUPFD, -1));
    tell("unknown command", fcntl(fd, 9999));
    tell("of no descriptor", fcntl(999, F_GETFL));
    tell("creat", (fd = creat("created", 0600)) >= 0 ? 0 : -1);
    close(60);
    int lowest = dup(fd);
    close(lowest);
    tell("the lowest is taken", dup(fd) == lowest ? 0 : -1);
    tell("close", close(lowest));
    tell("close twice", close(lowest));

    /* A file without a name, where the file system has such. */
    fd = open(".", O_TMPFILE | O_RDWR, 0600);
    int lacking = fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL);
    yes("O_TMPFILE makes a file without links, or is not there",
        lacking || (!fstat(fd, &status) && status.st_nlink == 0 && S_ISREG(status.st_mode)));
    return 0;
}
