/* Reading folders: every entry once, positions, and folders that change meanwhile. */
#include "say.h"
#include <dirent.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static int count(DIR *dir, int *dots, int *types) {
    int files = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (*entry->d_name == '.')
            *dots += 1;
        else
            files++;
        *types += entry->d_type == (*entry->d_name == '.' || !strcmp(entry->d_name, "sub") ? DT_DIR
                                    : !strcmp(entry->d_name, "link")                       ? DT_LNK
                                    : !strcmp(entry->d_name, "fifo")                       ? DT_FIFO
                                                                                           : DT_REG);
    }
    return files;
}

int main(void) {
    char name[64];
    int dots = 0, types = 0;
    tell("mkdir", mkdir("dir", 0755));
    tell("mkdir of what is there", mkdir("dir", 0755));
    for (int i = 0; i < 300; i++) { /* more than one call can tell */
        snprintf(name, sizeof name, "dir/a-file-with-a-long-name-%03d", i);
        close(open(name, O_CREAT | O_WRONLY, 0644));
    }
    mkdir("dir/sub", 0755), symlink("nowhere", "dir/link"), mkfifo("dir/fifo", 0644);
    DIR *dir = opendir("dir");
    say("entries: %d", count(dir, &dots, &types));
    say("dots: %d, types that are right: %d", dots, types);
    errno = 0;
    yes("the end stays", readdir(dir) == 0 && errno == 0);
    rewinddir(dir);
    say("rewound: %d", count(dir, &dots, &types));

    /* telldir and seekdir lead to the same entry. */
    rewinddir(dir);
    for (int i = 0; i < 100; i++) readdir(dir);
    long position = telldir(dir);
    char next[256];
    strcpy(next, readdir(dir)->d_name);
    for (int i = 0; i < 50; i++) readdir(dir);
    seekdir(dir, position);
    yes("seekdir", !strcmp(next, readdir(dir)->d_name));

    /* Taking away each as it is read misses none. */
    rewinddir(dir);
    int removed = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (*entry->d_name == 'a') removed += !unlinkat(dirfd(dir), entry->d_name, 0);
    say("removed while reading: %d", removed);
    rewinddir(dir);
    dots = types = 0;
    say("left: %d", count(dir, &dots, &types));
    struct stat of_entry, of_file;
    rewinddir(dir);
    int right = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (*entry->d_name != '.')
            right += !fstatat(dirfd(dir), entry->d_name, &of_file, AT_SYMLINK_NOFOLLOW) &&
                     of_file.st_ino == entry->d_ino;
    say("inode numbers that are right: %d", right);
    closedir(dir);

    int fd = open("dir", O_RDONLY | O_DIRECTORY);
    char buffer[2048];
    tell("read of a folder", read(fd, buffer, 10));
    tell("getdents64, too small", syscall(SYS_getdents64, fd, buffer, 8));
    yes("getdents64", syscall(SYS_getdents64, fd, buffer, sizeof buffer) > 0);
    tell("at the end", syscall(SYS_getdents64, fd, buffer, sizeof buffer));
    tell("lseek", lseek(fd, 0, SEEK_SET));
    yes("again", syscall(SYS_getdents64, fd, buffer, sizeof buffer) > 0);
    tell("of a file", syscall(SYS_getdents64, 1, buffer, sizeof buffer));
    tell("opendir of a file", opendir("dir/fifo/x") ? 0 : -1);
    tell("opendir of nothing", opendir("none") ? 0 : -1);
    unlink("dir/link"), unlink("dir/fifo");
    tell("rmdir", rmdir("dir/sub"));
    tell("rmdir", rmdir("dir"));
    lseek(fd, 0, SEEK_SET);
    tell("getdents64 of a removed one", syscall(SYS_getdents64, fd, buffer, sizeof buffer));
    tell("a file in it", openat(fd, "x", O_CREAT | O_WRONLY, 0644));
    tell("its links", (fstat(fd, &of_file), (long)of_file.st_nlink));
    return 0;
}
