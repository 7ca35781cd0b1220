/* Times of files: setting them, UTIME_NOW, UTIME_OMIT, and what changes them. */
#include "say.h"
#include <sys/stat.h>
#include <sys/time.h>
#include <utime.h>

static struct stat status;
static void show(const char *what, const char *path) {
    if (lstat(path, &status))
        tell(what, -1);
    else
        say("%s: %ld.%09ld, %ld.%09ld", what, (long)status.st_atim.tv_sec, status.st_atim.tv_nsec,
            (long)status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
}

int main(void) {
    struct timespec both[2] = {{1000000000, 123456789}, {1100000000, 987654321}};
    int fd = open("file", O_CREAT | O_RDWR, 0644);
    tell("utimensat", utimensat(AT_FDCWD, "file", both, 0));
    show("times", "file");
    both[0].tv_nsec = UTIME_OMIT, both[1].tv_sec = 1200000000;
    tell("UTIME_OMIT", utimensat(AT_FDCWD, "file", both, 0));
    show("times", "file");
    both[0] = (struct timespec){5, 6}, both[1].tv_nsec = UTIME_OMIT;
    tell("futimens", futimens(fd, both));
    show("times", "file");
    both[0].tv_nsec = both[1].tv_nsec = UTIME_OMIT;
    tell("both omitted", futimens(fd, both));
    show("times", "file");
    both[0].tv_nsec = UTIME_NOW;
    tell("UTIME_NOW", futimens(fd, both));
    fstat(fd, &status);
    time_t now = time(0);
    yes("is now", status.st_atim.tv_sec >= now - 2 && status.st_atim.tv_sec <= now + 1);
    yes("the other is not", status.st_mtim.tv_sec == 1200000000);
    tell("without times", futimens(fd, 0));
    fstat(fd, &status);
    yes("both are now", status.st_mtim.tv_sec >= now - 2 && status.st_atim.tv_sec >= now - 2);
    both[0] = (struct timespec){1, 1000000000};
    tell("too many nanoseconds", futimens(fd, both));
    both[0] = (struct timespec){1, -1};
    tell("negative nanoseconds", futimens(fd, both));
    both[0] = (struct timespec){1, 0}, both[1] = (struct timespec){2, 0};
    tell("of nothing", utimensat(AT_FDCWD, "none", both, 0));
    tell("unknown flag", utimensat(AT_FDCWD, "file", both, 1));
    symlink("file", "link");
    tell("of a link itself", utimensat(AT_FDCWD, "link", both, AT_SYMLINK_NOFOLLOW));
    show("link", "link");
    stat("file", &status);
    yes("not of the file", status.st_mtim.tv_sec != 2);
    tell("utime", utime("file", &(struct utimbuf){7, 8}));
    show("times", "file");
    tell("utimes", utimes("file", (struct timeval[]){{9, 5}, {10, 999999}}));
    show("times", "file");

    /* Writing sets mtime; truncating does; opening and chmod do not. */
    close(open("file", O_RDWR));
    chmod("file", 0600);
    show("after chmod", "file");
    write(fd, "x", 1);
    stat("file", &status);
    yes("written: now", status.st_mtim.tv_sec >= now - 2);
    futimens(fd, both);
    ftruncate(fd, 0);
    stat("file", &status);
    yes("truncated: now", status.st_mtim.tv_sec >= now - 2);
    yes("ctime is always now", status.st_ctim.tv_sec >= now - 2);
    mkdir("dir", 0755);
    utimensat(AT_FDCWD, "dir", both, 0);
    close(open("dir/x", O_CREAT | O_WRONLY, 0644));
    stat("dir", &status);
    yes("a folder's, by a new file: now", status.st_mtim.tv_sec >= now - 2);
    utimensat(AT_FDCWD, "dir", both, 0);
    unlink("dir/x");
    stat("dir", &status);
    yes("by one less: now", status.st_mtim.tv_sec >= now - 2);
    return 0;
}
