/* readv, writev and their relatives; and copying between descriptors without a buffer. */
#include "say.h"
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static char a[8], b[8], c[8];

static void copied(const char *what, long result) {
    if (result == -1 && errno == ENOSYS)
        say("%s: not here", what);
    else
        tell(what, result);
}

int main(void) {
    int fd = open("file", O_CREAT | O_RDWR | O_TRUNC, 0644),
        out = open("out", O_CREAT | O_RDWR | O_TRUNC, 0644);
    struct iovec v[3] = {{"one ", 4}, {"two ", 4}, {"three", 5}};
    tell("writev", writev(fd, v, 3));
    struct iovec r[3] = {{a, 4}, {b, 4}, {c, 8}};
    lseek(fd, 0, SEEK_SET);
    tell("readv", readv(fd, r, 3));
    say("read: %.4s|%.4s|%.5s", a, b, c);
    tell("at the end", readv(fd, r, 3));
    tell("preadv", preadv(fd, r, 2, 4));
    say("read: %.4s|%.4s", a, b);
    tell("preadv at -1", preadv(fd, r, 2, -1));
    tell("pwritev", pwritev(fd, v, 2, 13));
    tell("position is kept", lseek(fd, 0, SEEK_CUR));
    tell("no vectors", writev(fd, v, 0));
    tell("too many", writev(fd, v, 1025));
    tell("negative count", writev(fd, v, -1));
    static struct iovec many[1024];
    for (int i = 0; i < 1024; i++) many[i] = (struct iovec){"x", 1};
    tell("1024", pwritev(out, many, 1024, 0));
    struct iovec wrong[2] = {{"ok", 2}, {(void *)8, 2}};
    tell("the second leads nowhere", pwritev(out, wrong, 2, 0));
    struct iovec huge[2] = {{a, (size_t)-1}, {b, 4}};
    tell("negative length", readv(fd, huge, 2));
    tell("vectors nowhere", readv(fd, (struct iovec *)8, 2));
    tell("an unknown flag", syscall(SYS_preadv2, fd, r, 2, 0, 0, 0x4000));
    tell("preadv2 at the position", preadv2(fd, r, 2, -1, 0));
    int ends[2];
    pipe(ends);
    tell("writev to a pipe", writev(ends[1], v, 3));
    tell("readv from it", readv(ends[0], r, 2));
    tell("preadv from it", preadv(ends[0], r, 2, 0));
    read(ends[0], c, 8);

    ftruncate(out, 0);
    off_t offset = 4;
    copied("sendfile", sendfile(out, fd, &offset, 4));
    say("offset: %ld", (long)offset);
    copied("sendfile at the position", (lseek(fd, 0, SEEK_SET), sendfile(out, fd, 0, 100)));
    copied("sendfile at the end", sendfile(out, fd, 0, 100));
    struct stat status;
    fstat(out, &status);
    say("size: %ld", (long)status.st_size);
    loff_t from = 0, to = 2;
    ftruncate(out, 0);
    copied("copy_file_range", copy_file_range(fd, &from, out, &to, 4, 0));
    say("offsets: %ld %ld", (long)from, (long)to);
    memset(a, '?', 8);
    pread(out, a, 8, 0);
    say("copied: %d%d%.4s", a[0], a[1], a + 2);
    copied("unknown flag", copy_file_range(fd, &from, out, &to, 4, 1));
    lseek(fd, 0, SEEK_SET);
    copied("splice to a pipe", splice(fd, 0, ends[1], 0, 8, 0));
    copied("splice from it", splice(ends[0], 0, out, 0, 100, 0));
    copied("splice without a pipe", splice(fd, 0, out, 0, 8, 0));
    int more[2];
    pipe(more);
    write(ends[1], "teed", 4);
    copied("tee", tee(ends[0], more[1], 100, 0));
    tell("it is in both", read(ends[0], a, 8) + 10 * read(more[0], b, 8));
    copied("vmsplice", vmsplice(ends[1], v, 2, 0));
    tell("read", read(ends[0], a, 8));
    return 0;
}
