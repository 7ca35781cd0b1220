/* Hard links, symbolic links, and what removing them does. */
#include "say.h"
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

static struct stat status;
static ino_t inode(const char *path) { return lstat(path, &status) ? 0 : status.st_ino; }
static long links(const char *path) { return lstat(path, &status) ? -1 : (long)status.st_nlink; }

int main(void) {
    char target[256];
    int fd = open("a", O_CREAT | O_RDWR, 0644);
    write(fd, "content", 7);
    close(open("other", O_CREAT | O_WRONLY, 0644));
    yes("different files, different inodes", inode("a") != inode("other"));
    tell("link", link("a", "b"));
    yes("same inode", inode("a") == inode("b"));
    say("links: %ld %ld", links("a"), links("b"));
    tell("link to what is there", link("a", "b"));
    tell("link of nothing", link("none", "c"));
    mkdir("dir", 0755);
    tell("link of a folder", link("dir", "c"));
    tell("unlink", unlink("a"));
    say("links: %ld", links("b"));
    tell("content", pread(fd, target, 10, 0));
    tell("unlink", unlink("b"));
    fstat(fd, &status);
    say("open but without a name: %ld links, %ld bytes", (long)status.st_nlink, (long)status.st_size);
    tell("still written", pwrite(fd, "more", 4, 7));
    tell("still read", pread(fd, target, 64, 0));
    tell("unlink of nothing", unlink("a"));
    tell("unlink of a folder", unlink("dir"));
    tell("rmdir of a file", rmdir("other"));
    tell("rmdir of nothing", rmdir("none"));
    close(open("dir/x", O_CREAT | O_WRONLY, 0644));
    tell("rmdir of a full one", rmdir("dir"));
    tell("rmdir of .", rmdir("dir/."));
    tell("rmdir of ..", rmdir("dir/.."));
    tell("unlinkat", unlinkat(AT_FDCWD, "dir", AT_REMOVEDIR));
    tell("unlinkat, unknown flag", unlinkat(AT_FDCWD, "other", 1));
    tell("symlink", symlink("other", "soft"));
    tell("symlink to what is there", symlink("other", "soft"));
    tell("readlink", readlink("soft", target, sizeof target));
    tell("readlink, small", readlink("soft", target, 3));
    tell("readlink of a file", readlink("other", target, sizeof target));
    tell("readlink of nothing", readlink("none", target, sizeof target));
    tell("readlink of 0 bytes", syscall(SYS_readlinkat, AT_FDCWD, "soft", target, 0));
    lstat("soft", &status);
    say("lstat: %s, %ld bytes", S_ISLNK(status.st_mode) ? "link" : "no link", (long)status.st_size);
    stat("soft", &status);
    say("stat: %s", S_ISREG(status.st_mode) ? "file" : "no file");
    symlink("none", "dangling"), symlink("loop-b", "loop-a"), symlink("loop-a", "loop-b");
    tell("open of a dangling one", open("dangling", O_RDONLY));
    tell("lstat of it", lstat("dangling", &status));
    tell("stat of it", stat("dangling", &status));
    tell("open of a loop", open("loop-a", O_RDONLY));
    tell("O_NOFOLLOW", open("soft", O_RDONLY | O_NOFOLLOW));
    tell("created through it", open("dangling", O_CREAT | O_WRONLY, 0644) >= 0 ? 0 : -1);
    tell("there", access("none", F_OK));
    tell("not through it with O_EXCL", open("soft", O_CREAT | O_EXCL | O_WRONLY, 0644));
    tell("link follows none", link("soft", "soft-too"));
    lstat("soft-too", &status);
    yes("a second name of the link", S_ISLNK(status.st_mode) && status.st_nlink == 2);
    tell("linkat that follows", linkat(AT_FDCWD, "soft", AT_FDCWD, "hard", AT_SYMLINK_FOLLOW));
    yes("a second name of the file", inode("hard") == inode("other"));
    tell("unlink of the link", unlink("soft"));
    tell("the file stays", access("other", F_OK));
    tell("empty target", symlink("", "empty"));
    symlink("dir", "to-dir");
    tell("through a link to a folder", access("to-dir/x", F_OK));
    tell("a file as a folder", access("other/x", F_OK));
    tell("a slash behind a file", access("other/", F_OK));
    symlink("nowhere", "broken");
    tell("attributes of a link", llistxattr("broken", target, sizeof target));
    tell("of what it leads to", listxattr("broken", target, sizeof target));
    tell("one", lgetxattr("broken", "user.x", target, 8)), tell("one", getxattr("broken", "user.x", target, 8));
    for (int i = 0; i < 45; i++) { /* 40 links in one path are the most */
        char name[16], to[16];
        snprintf(name, sizeof name, "chain%d", i), snprintf(to, sizeof to, i ? "chain%d" : "other", i - 1);
        symlink(to, name);
    }
    tell("40 links", access("chain39", F_OK));
    tell("41 links", access("chain40", F_OK));
    return 0;
}
