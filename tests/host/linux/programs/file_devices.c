/* Files in /dev that every program counts on. */
#include "say.h"
#include <sys/mman.h>
#include <sys/stat.h>

int main(void) {
    char a[64], b[64], zeros[64] = "";
    int null = open("/dev/null", O_RDWR);
    yes("null", null >= 0);
    tell("write", write(null, a, sizeof a));
    tell("read", read(null, a, sizeof a));
    tell("lseek", lseek(null, 100, SEEK_SET));
    tell("O_TRUNC", open("/dev/null", O_WRONLY | O_TRUNC | O_CREAT, 0644) >= 0 ? 0 : -1);
    yes("no terminal", !isatty(null));
    int zero = open("/dev/zero", O_RDWR);
    memset(a, 'x', sizeof a);
    tell("read of zero", read(zero, a, sizeof a));
    yes("zeros", !memcmp(a, zeros, sizeof a));
    tell("write to zero", write(zero, a, sizeof a));
    char *mapped = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
    yes("zero can be mapped", mapped != MAP_FAILED);
    if (mapped != MAP_FAILED) {
        mapped[5] = 1;
        say("it holds: %d %d", mapped[4], mapped[5]);
    }
    int full = open("/dev/full", O_RDWR);
    yes("full", full >= 0);
    tell("write to full", write(full, "x", 1));
    tell("read of full", read(full, a, 4));
    int random = open("/dev/urandom", O_RDONLY);
    tell("read of urandom", read(random, a, sizeof a));
    read(random, b, sizeof b);
    yes("never the same", memcmp(a, b, sizeof a) != 0);
    random = open("/dev/random", O_RDONLY);
    tell("read of random", read(random, a, 16));
    struct stat status;
    tell("stat", stat("/dev/urandom", &status));
    yes("a character device", S_ISCHR(status.st_mode));
    tell("nothing there", open("/dev/surely-none", O_RDONLY));
    FILE *stream = fopen("/dev/full", "w");
    if (stream) {
        fputs("lost", stream);
        errno = 0;
        yes("fclose tells that nothing was written", fclose(stream) == EOF && errno == ENOSPC);
    }
    pid_t child = forked();
    if (!child) {
        int ends[2];
        pipe(ends);
        write(ends[1], "12", 2);
        dup2(ends[0], 0);
        int in = open("/dev/stdin", O_RDONLY), same = open("/dev/fd/0", O_RDONLY);
        _exit(read(in, a, 1) == 1 && read(same, b, 1) == 1 && a[0] == '1' && b[0] == '2' ? 0 : 1);
    }
    reap("/dev/stdin and /dev/fd/0", child);
    return 0;
}
