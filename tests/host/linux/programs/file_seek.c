/* Positions: lseek, holes, pread and pwrite, truncation. */
#include "say.h"
#include <sys/stat.h>

static char zeros[8192], buffer[8192];

int main(void) {
    struct stat status;
    int fd = open("file", O_CREAT | O_RDWR | O_TRUNC, 0644);
    write(fd, "0123456789", 10);
    tell("SEEK_SET", lseek(fd, 3, SEEK_SET));
    tell("SEEK_CUR", lseek(fd, 2, SEEK_CUR));
    tell("SEEK_END", lseek(fd, -1, SEEK_END));
    tell("before the start", lseek(fd, -11, SEEK_END));
    tell("position is kept", lseek(fd, 0, SEEK_CUR));
    tell("behind the end", lseek(fd, 100, SEEK_END));
    tell("read there", read(fd, buffer, 1));
    tell("unknown whence", lseek(fd, 0, 99));
    tell("of no descriptor", lseek(999, 0, SEEK_SET));
    tell("too far", lseek(fd, INT64_MAX, SEEK_CUR));
    tell("pread", pread(fd, buffer, 4, 8));
    tell("pread behind the end", pread(fd, buffer, 4, 10));
    tell("pread at -1", pread(fd, buffer, 4, -1));
    tell("pwrite at -1", pwrite(fd, buffer, 4, -1));
    tell("pread of nothing", pread(fd, buffer, 0, 3));
    tell("pread to nowhere", pread(fd, (void *)8, 4, 0));
    tell("write from nowhere", write(fd, (void *)8, 4));
    lseek(fd, 4, SEEK_SET);
    pwrite(fd, "XY", 2, 0);
    tell("position is kept", lseek(fd, 0, SEEK_CUR));

    /* A gap reads as zeros. */
    tell("write behind the end", pwrite(fd, "end", 3, 5000));
    fstat(fd, &status);
    say("size: %ld", (long)status.st_size);
    tell("read across", pread(fd, buffer, sizeof buffer, 0));
    yes("gap is zero", !memcmp(buffer + 10, zeros, 4990) && !memcmp(buffer + 5000, "end", 3));
    tell("ftruncate, shorter", ftruncate(fd, 4));
    tell("ftruncate, longer", ftruncate(fd, 5003));
    pread(fd, buffer, sizeof buffer, 0);
    yes("what was cut is zero", !memcmp(buffer, "XY23", 4) && !memcmp(buffer + 4, zeros, 4999));
    tell("truncate", truncate("file", 6));
    fstat(fd, &status);
    say("size: %ld", (long)status.st_size);
    tell("truncate to -1", truncate("file", -1));
    tell("truncate of nothing", truncate("none", 0));
    tell("truncate of a folder", truncate(".", 0));
    int reader = open("file", O_RDONLY);
    tell("ftruncate of a reader", ftruncate(reader, 0));

    /* A file of 1 GiB without data takes no room, and its hole is found, or the whole is data. */
    tell("big", ftruncate(fd, 1 << 30));
    fstat(fd, &status);
    say("size: %ld", (long)status.st_size);
    pwrite(fd, "middle", 6, 512 << 20);
    tell("read in the middle", pread(fd, buffer, 6, 512 << 20));
    fstat(fd, &status);
    yes("blocks are fewer", status.st_blocks < 1 << 20);
    off_t hole = lseek(fd, 0, SEEK_HOLE), data = lseek(fd, 256 << 20, SEEK_DATA);
    yes("SEEK_HOLE", hole >= 6 && hole <= 1 << 30);
    yes("SEEK_DATA", data >= 256 << 20 && data <= 512 << 20);
    tell("SEEK_DATA behind the end", lseek(fd, 2L << 30, SEEK_DATA));
    tell("SEEK_HOLE behind the end", lseek(fd, 2L << 30, SEEK_HOLE));
    tell("SEEK_HOLE at the last data", ftruncate(fd, 6) || lseek(fd, 3, SEEK_HOLE) != 6 ? -1 : 6);
    return 0;
}
