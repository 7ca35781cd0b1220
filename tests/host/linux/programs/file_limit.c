/* RLIMIT_FSIZE: how far a file may be written, in whatever way. */
#include "say.h"
#include <sys/resource.h>
#include <sys/uio.h>

static volatile int signals;
static void heard(int signal) { signals++; }

int main(void) {
    struct rlimit limit = {1000, RLIM_INFINITY};
    static char text[3000];
    struct iovec parts[2] = {{text, 600}, {text, 600}};
    signal(SIGXFSZ, heard);
    int fd = open("limited", O_RDWR | O_CREAT, 0600), all = open("all", O_RDWR | O_CREAT, 0600);
    write(all, text, 3000);
    setrlimit(RLIMIT_FSIZE, &limit);
    tell("write", write(fd, text, 3000));
    tell("write", write(fd, text, 1));
    tell("pwrite", pwrite(fd, text, 3000, 900));
    tell("pwrite", pwrite(fd, text, 1, 1000));
    tell("pwrite", pwrite(fd, text, 1, 999));
    tell("pwrite of nothing", pwrite(fd, text, 0, 5000));
    tell("pwritev", pwritev(fd, parts, 2, 0));
    tell("pwritev", pwritev(fd, parts, 2, 2000));
    tell("copy_file_range", copy_file_range(all, &(off_t){0}, fd, &(off_t){500}, 3000, 0));
    tell("copy_file_range", copy_file_range(all, &(off_t){0}, fd, &(off_t){1500}, 3000, 0));
    tell("ftruncate", ftruncate(fd, 1001));
    tell("size", lseek(fd, 0, SEEK_END));
    int end = open("limited", O_WRONLY | O_APPEND);
    tell("append", write(end, text, 10));
    ftruncate(fd, 995);
    tell("append", write(end, text, 10));
    say("signals: %d", signals);
    return 0;
}
