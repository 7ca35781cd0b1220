/* Names: how long, which bytes, and paths that wind. */
#include "say.h"
#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>

static long made(const char *path) {
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);
    if (fd < 0) return -1;
    close(fd);
    return 0;
}

int main(void) {
    static char name[8192], path[8192];
    struct stat status;
    memset(name, 'n', 300);
    name[255] = 0;
    tell("255 bytes", made(name));
    tell("stat", stat(name, &status));
    name[255] = 'n', name[256] = 0;
    tell("256 bytes", made(name));
    name[256] = 'n', name[300] = 0;
    tell("300 bytes", made(name));
    tell("mkdir of it", mkdir(name, 0755));
    tell("stat of it", stat(name, &status));
    tell("unlink of it", unlink(name));
    made("short");
    tell("rename to it", rename("short", name));
    tell("symlink called it", symlink("x", name));
    tell("a link to it", symlink(name, "soft"));
    tell("through that", stat("soft", &status));

    /* A path may have 4095 bytes and a zero. */
    for (int i = 0; i < 2000; i++) memcpy(path + 2 * i, "./", 2);
    strcpy(path + 4000, "short");
    tell("4005 bytes", stat(path, &status));
    for (int i = 2000; i < 2045; i++) memcpy(path + 2 * i, "./", 2);
    strcpy(path + 4090, "short");
    say("length: %zu", strlen(path));
    tell("4095 bytes", stat(path, &status));
    memmove(path + 1, path, 4096), path[0] = '.', path[1] = '/';
    strcpy(path + 4091, "short");
    say("length: %zu", strlen(path));
    tell("4096 bytes", stat(path, &status));
    tell("a target that long", symlink(path, "far"));
    path[4095] = 0;
    tell("a target of 4095", symlink(path, "far"));

    tell("any bytes", made("\x01\xff \n*?\\"));
    tell("stat", stat("\x01\xff \n*?\\", &status));
    tell("UTF-8", made("\xc3\xa9t\xc3\xa9"));
    tell("case is kept apart", made("Short"));
    tell("three dots", made("..."));
    tell("a dash", made("-"));
    tell("slashes", stat(".////.//short", &status));
    mkdir("dir", 0755);
    tell("a slash behind a folder", stat("dir/", &status));
    tell("mkdir with a slash", mkdir("other/", 0755));
    tell("back and forth", stat("dir/../other/../short", &status));
    tell("through what is not there", stat("none/../short", &status));
    tell("dots of a file", stat("short/..", &status));
    tell("above the root", stat("/../../..", &status));
    struct stat root;
    stat("/", &root);
    yes("is the root", status.st_ino == root.st_ino);
    tell("mkdir of .", mkdir(".", 0755));
    tell("mkdir of /", mkdir("/", 0755));
    char *real = realpath("dir/../short", 0);
    yes("realpath", real && real[0] == '/' && !strcmp(strrchr(real, '/'), "/short") && !strstr(real, ".."));
    say("NAME_MAX %ld, PATH_MAX %d", pathconf(".", _PC_NAME_MAX), PATH_MAX);
    return 0;
}
