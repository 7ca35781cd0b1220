/* Says a line for each step with files in memory, so that a snapshot can be taken between any two. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void state(const char *what, int fd)
{
    struct stat info;
    char text[64] = "", path[32];
    fstat(fd, &info);
    ssize_t size = pread(fd, text, sizeof text - 1, 0);
    printf("%s: inode %ld, size %ld, links %ld, mode %o, %ld at %ld: %zd %s\n", what, (long)info.st_ino,
           (long)info.st_size, (long)info.st_nlink, info.st_mode, (long)info.st_mtime, (long)lseek(fd, 0, SEEK_CUR),
           size, text);
    fflush(stdout);
}

int main(void)
{
    char path[32];
    int first = memfd_create("first", MFD_ALLOW_SEALING);
    write(first, "one", 3);
    state("memfd", first);
    snprintf(path, sizeof path, "/proc/self/fd/%d", first);
    int second = open(path, O_RDWR);
    write(second, "tw", 2);
    state("the same, opened again", second);
    int named = open("/dev/shm/name", O_RDWR | O_CREAT, 0620);
    write(named, "name", 4);
    state("named", named);
    link("/dev/shm/name", "/dev/shm/other");
    int other = open("/dev/shm/other", O_RDWR);
    pwrite(other, "N", 1, 0);
    state("named", named);
    pwrite(first, "more", 4, 3);
    state("the same, opened again", second);
    unlink("/dev/shm/name");
    state("named", other);
    fcntl(first, F_ADD_SEALS, F_SEAL_GROW);
    printf("sealed: %zd\n", pwrite(second, "x", 1, 100));
    fflush(stdout);
    close(named), close(other);
    named = open("/dev/shm/other", O_RDONLY);
    state("named", named);
    for (int i = 0; i < 40; i++) { /* 4 GiB, one after the other */
        int big = memfd_create("big", 0);
        if (ftruncate(big, 100 << 20)) return printf("no room\n"), 1;
        char *shown = mmap(0, 4096, PROT_READ, MAP_SHARED, big, 0);
        close(big);
        munmap(shown, 4096);
    }
    unlink("/dev/shm/other");
    close(named);
    printf("open: %d\n", open("/dev/shm/other", O_RDONLY));
    fflush(stdout);
    return 0;
}
