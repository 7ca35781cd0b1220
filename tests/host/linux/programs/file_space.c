/* fallocate, posix_fadvise, syncing; and writing over a limit. */
#include "say.h"
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static struct stat status;
static long size(int fd) { return fstat(fd, &status) ? -1 : (long)status.st_size; }

/* What a file system cannot, it says. */
static int able(const char *what, int result) {
    if (result && errno == EOPNOTSUPP) return 0;
    tell(what, result);
    return 1;
}

int main(void) {
    char buffer[16384];
    int fd = open("file", O_CREAT | O_RDWR | O_TRUNC, 0644), reader = open("file", O_RDONLY);
    able("fallocate", fallocate(fd, 0, 0, 8192));
    say("size: %ld", size(fd));
    able("behind, keeping the size", fallocate(fd, FALLOC_FL_KEEP_SIZE, 8192, 8192));
    say("size: %ld", size(fd));
    memset(buffer, 'x', sizeof buffer);
    pwrite(fd, buffer, 8192, 0);
    able("a hole", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1000, 3000));
    pread(fd, buffer, 8192, 0);
    int zeros = 0;
    for (int i = 0; i < 8192; i++) zeros += !buffer[i];
    say("size: %ld, zeros: %d", size(fd), zeros);
    tell("a hole that changes the size", fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 100));
    tell("no length", fallocate(fd, 0, 0, 0));
    tell("negative offset", fallocate(fd, 0, -1, 10));
    tell("for a reader", fallocate(reader, 0, 0, 10));
    tell("of no descriptor", fallocate(999, 0, 0, 10));
    code("posix_fallocate", posix_fallocate(fd, 10000, 2000));
    say("size: %ld", size(fd));
    code("posix_fallocate never shrinks", posix_fallocate(fd, 0, 10));
    say("size: %ld", size(fd));
    int ends[2];
    pipe(ends);
    tell("of a pipe", fallocate(ends[1], 0, 0, 10));
    code("posix_fadvise", posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
    tell("unknown advice", syscall(SYS_fadvise64, fd, 0, 0, 99));
    tell("advice for a pipe", syscall(SYS_fadvise64, ends[0], 0, 0, POSIX_FADV_NORMAL));
    tell("fsync", fsync(fd));
    tell("fdatasync", fdatasync(fd));
    tell("fsync of no descriptor", fsync(999));
    tell("sync_file_range", sync_file_range(fd, 0, 100, SYNC_FILE_RANGE_WRITE));
    tell("syncfs", syncfs(fd));

    /* RLIMIT_FSIZE: what goes in is written, then SIGXFSZ and EFBIG. */
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit = {5000, 5000};
    fd = open("limited", O_CREAT | O_RDWR | O_TRUNC, 0644);
    tell("RLIMIT_FSIZE", setrlimit(RLIMIT_FSIZE, &limit));
    tell("within", write(fd, buffer, 4096));
    tell("a part", write(fd, buffer, 4096));
    tell("nothing", write(fd, buffer, 1));
    tell("ftruncate", ftruncate(fd, 5001));
    tell("ftruncate within", ftruncate(fd, 5000));
    pid_t child = forked();
    if (!child) {
        signal(SIGXFSZ, SIG_DFL);
        write(fd, buffer, 1);
        _exit(0);
    }
    reap("child that writes on", child);
    return 0;
}
