/* Folders, links, locks, times and paths of the kernel's own: `linux_tree NAME` runs one test, 0 when all is
 * well. All but `own` and `wall` hold on any Linux: built for it and run in an empty folder, they pass there. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#define IS(wanted, call) \
    do { long got = (long)(call); \
         if (got < 0) got = -errno; \
         if (got != (long)(wanted)) return printf("line %d: %s gives %ld, not %ld\n", __LINE__, #call, got, (long)(wanted)), 1; } while (0)
#define OK(condition) \
    do { if (!(condition)) return printf("line %d: not so: %s\n", __LINE__, #condition), 1; } while (0)

static char text[65536];

static int put(const char *path, const char *content)
{
    int fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0644);
    if (fd >= 0 && write(fd, content, strlen(content)) < 0) return -1;
    return fd;
}

static const char *linked(const char *path)
{
    ssize_t size = readlink(path, text, sizeof text - 1);
    text[size < 0 ? 0 : size] = 0;
    return text;
}

static int ended(pid_t child)
{
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

/* Names come sorted here; everywhere once, with offsets that lead back, whatever is removed meanwhile. */
static int folders(void)
{
    char name[300], seen[3000] = "";
    IS(0, mkdir("d", 0755));
    for (int i = 9; i >= 0; i--) snprintf(name, sizeof name, "d/%d", i), close(put(name, ""));
    IS(0, symlink("0", "d/link"));
    DIR *dir = opendir("d");
    long offsets[20];
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir)); count++) offsets[count] = entry->d_off, strcat(seen, entry->d_name);
    OK(count == 13);
    seekdir(dir, offsets[4]);
    strcpy(name, readdir(dir)->d_name);
    readdir(dir);
    seekdir(dir, offsets[4]);
    OK(!strcmp(name, readdir(dir)->d_name));
    IS(0, unlink("d/0"));
    rewinddir(dir);
    for (count = 0; readdir(dir); count++) {}
    OK(count == 12);
    int fd = dirfd(dir);
    IS(0, fchdir(fd));
    OK(getcwd(text, sizeof text) && !strcmp(strrchr(text, '/'), "/d"));
    IS(0, chdir(".."));
    IS(-ENOTDIR, chdir("d/1"));
    int path = open("d", O_PATH);
    IS(-EBADF, syscall(SYS_getdents64, path, text, sizeof text));
    IS(0, fchdir(path));
    IS(0, chdir(".."));
    IS(0, rename("d", "e"));
    IS(0, fchdir(fd));
    OK(getcwd(text, sizeof text) && !strcmp(strrchr(text, '/'), "/e"));
    return 0;
}

static int sorted(void)
{
    char seen[300] = "";
    static const char *const names[] = {"b", "a", "\xff", "Z", "a0", ".x"};
    IS(0, mkdir("d", 0755));
    for (int i = 0; i < 6; i++) close(openat(open("d", O_PATH), names[i], O_CREAT | O_WRONLY, 0644));
    DIR *dir = opendir("d");
    for (struct dirent *entry; (entry = readdir(dir));) strcat(strcat(seen, entry->d_name), " ");
    OK(!strcmp(seen, ". .. .x Z a a0 b \xff "));
    return 0;
}

static int links(void)
{
    struct stat a, b;
    char absolute[5000], fd_path[64];
    OK(getcwd(absolute, 4000));
    strcat(strcmp(absolute, "/") ? absolute : strcpy(absolute, ""), "/file");
    int fd = put("file", "content");
    IS(0, symlink(absolute, "absolute"));
    OK(!strcmp(linked("absolute"), absolute));
    IS(0, lstat("absolute", &a));
    OK(S_ISLNK(a.st_mode) && a.st_size == (long)strlen(absolute));
    IS(0, stat("absolute", &a));
    IS(0, stat("file", &b));
    OK(a.st_ino == b.st_ino);
    int link = open("absolute", O_PATH | O_NOFOLLOW);
    IS(strlen(absolute), readlinkat(link, "", text, sizeof text));
    IS(-ENOENT, readlinkat(fd, "", text, sizeof text));
    IS(-EEXIST, symlink("x", "absolute"));
    IS(-ENOENT, symlink("x", "new/"));
    IS(-ENOENT, symlink("x", "none/new"));

    snprintf(fd_path, sizeof fd_path, "/proc/self/fd/%d", fd);
    IS(0, linkat(AT_FDCWD, fd_path, AT_FDCWD, "again", AT_SYMLINK_FOLLOW));
    IS(0, stat("again", &a));
    OK(a.st_ino == b.st_ino && a.st_nlink == 2);
    IS(-ENOENT, linkat(AT_FDCWD, "file", AT_FDCWD, "x/", 0));
    IS(-EPERM, linkat(AT_FDCWD, ".", AT_FDCWD, "x", 0));

    int nameless = open(".", O_TMPFILE | O_RDWR, 0600);
    if (nameless >= 0) {
        IS(5, write(nameless, "later", 5));
        snprintf(fd_path, sizeof fd_path, "/proc/self/fd/%d", nameless);
        IS(0, linkat(AT_FDCWD, fd_path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
        IS(0, stat("named", &a));
        OK(a.st_size == 5 && a.st_nlink == 1);
        IS(-EINVAL, open(".", O_TMPFILE | O_RDONLY, 0600));
        IS(-ENOTDIR, open("file", O_TMPFILE | O_RDWR, 0600));
    }
    IS(0, mknod("plain", S_IFREG | 0640, 0));
    IS(0, stat("plain", &a));
    OK(S_ISREG(a.st_mode) && a.st_size == 0);
    return 0;
}

static int opened_again(void)
{
    char path[64], b[8];
    int fd = put("file", "content");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int again = open(path, O_RDONLY);
    IS(7, read(again, text, 100));
    IS(-EBADF, write(again, "x", 1));
    int only_path = open("file", O_PATH);
    IS(-EBADF, read(only_path, b, 1));
    IS(-EBADF, syscall(SYS_fchmod, only_path, 0600));
    IS(-EBADF, ioctl(only_path, 0x5401, b));
    IS(-EBADF, lseek(only_path, 0, SEEK_SET));
    IS(-EBADF, flock(only_path, LOCK_SH));
    snprintf(path, sizeof path, "/proc/self/fd/%d", only_path);
    again = open(path, O_RDWR);
    IS(7, read(again, text, 100));
    IS(0, unlink("file"));
    again = open(path, O_RDWR); /* it is still there for those who have it */
    IS(7, read(again, text, 100));
    IS(0, open(path, O_WRONLY | O_TRUNC) < 0);
    struct stat status;
    IS(0, fstat(fd, &status));
    OK(status.st_size == 0 && status.st_nlink == 0);
    int ends[2];
    IS(0, pipe(ends));
    snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
    int writer = open(path, O_WRONLY);
    IS(3, write(writer, "abc", 3));
    IS(3, read(ends[0], b, 8));
    IS(0, mkdir("d", 0755));
    close(put("d/x", "inside"));
    int folder = open("d", O_PATH);
    snprintf(path, sizeof path, "/proc/self/fd/%d/x", folder);
    IS(6, read(open(path, O_RDONLY), text, 10));
    snprintf(path, sizeof path, "/proc/self/fd/%d/../d/x", folder);
    IS(6, read(open(path, O_RDONLY), text, 10));
    return 0;
}

struct how { uint64_t flags, mode, resolve; };
static int how(int folder, const char *path, uint64_t flags, uint64_t resolve)
{
    struct how one = {flags, 0, resolve};
    return syscall(SYS_openat2, folder, path, &one, sizeof one);
}

static int ways(void)
{
    enum { NO_MAGIC = 2, NO_LINKS = 4, BENEATH = 8, IN_ROOT = 16 };
    IS(0, mkdir("d", 0755));
    IS(0, mkdir("d/e", 0755));
    close(put("d/file", "inside")), close(put("file", "outside"));
    IS(0, symlink("file", "d/link"));
    IS(0, symlink("../file", "d/up"));
    IS(0, symlink("/file", "d/absolute"));
    int d = open("d", O_PATH);
    IS(6, read(how(d, "link", 0, BENEATH), text, 100));
    IS(-EXDEV, how(d, "up", 0, BENEATH));
    IS(-EXDEV, how(d, "../file", 0, BENEATH));
    IS(-EXDEV, how(d, "absolute", 0, BENEATH));
    IS(-EXDEV, how(d, "/file", 0, BENEATH));
    IS(6, read(how(d, "e/../file", 0, BENEATH), text, 100));
    IS(6, read(how(d, "up", 0, IN_ROOT), text, 100));
    IS(6, read(how(d, "absolute", 0, IN_ROOT), text, 100));
    IS(6, read(how(d, "/../../file", 0, IN_ROOT), text, 100));
    IS(7, read(how(d, "up", 0, 0), text, 100));
    IS(-ELOOP, how(d, "link", 0, NO_LINKS));
    IS(6, read(how(d, "file", 0, NO_LINKS), text, 100));
    IS(-ELOOP, how(AT_FDCWD, "/proc/self/fd/0", O_PATH, NO_MAGIC));
    IS(-EINVAL, how(d, "file", 1u << 31, 0));
    IS(-EINVAL, how(d, "file", 0, 0x100));
    IS(-EINVAL, how(d, "file", 0, BENEATH | IN_ROOT));
    struct how one = {0, 0644, 0}, create = {O_CREAT | O_RDWR, 0644, BENEATH};
    IS(-EINVAL, syscall(SYS_openat2, d, "file", &one, sizeof one));
    IS(-EINVAL, syscall(SYS_openat2, d, "file", &one, 8));
    OK(syscall(SYS_openat2, d, "new", &create, sizeof create) >= 0);
    return access("d/new", F_OK);
}

static int times(void)
{
    struct stat old, a, b;
    IS(0, stat("old", &old));
    OK(old.st_mtim.tv_sec < time(0));
    close(put("new", "x"));
    IS(0, stat("new", &a));
    OK(a.st_mtim.tv_sec >= time(0) - 1 && a.st_mtim.tv_sec > old.st_mtim.tv_sec);
    usleep(20000);
    int fd = open("new", O_RDWR);
    IS(1, write(fd, "y", 1));
    IS(0, stat("new", &b));
    OK(b.st_mtim.tv_nsec != a.st_mtim.tv_nsec);
    struct timespec both[2] = {{5, 6}, {7, 8}};
    IS(0, futimens(fd, both));
    IS(0, syscall(SYS_utimensat, fd, 0, both, 0));
    IS(-EFAULT, syscall(SYS_utimensat, AT_FDCWD, 0, both, 0));
    IS(-EINVAL, syscall(SYS_utimensat, fd, 0, both, AT_SYMLINK_NOFOLLOW));
    IS(0, chmod("new", 0600));
    IS(0, stat("new", &a));
    OK(a.st_atim.tv_sec == 5 && a.st_mtim.tv_nsec == 8 && a.st_ctim.tv_sec >= time(0) - 1);
    IS(0, link("old", "older"));
    IS(0, stat("old", &b));
    OK(b.st_mtim.tv_sec == old.st_mtim.tv_sec && b.st_ctim.tv_sec >= time(0) - 1);
    return 0;
}

static long lock(int fd, int command, int type, long start, long size)
{
    struct flock one = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = size};
    return fcntl(fd, command, &one);
}

static int locks(void)
{
    int fd = put("file", "0123456789"), other = open("file", O_RDWR), ends[2];
    IS(0, pipe(ends));
    IS(0, lock(fd, F_SETLK, F_WRLCK, 0, 4));
    IS(0, lock(fd, F_SETLK, F_RDLCK, 4, 4));
    IS(0, lock(fd, F_SETLK, F_UNLCK, 1, 2)); /* leaves 0, 3 and 4 to 7 */
    pid_t child = fork();
    if (!child) {
        struct flock found = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1};
        if (fcntl(fd, F_GETLK, &found) || found.l_start != 3 || found.l_len != 1 || found.l_type != F_WRLCK) _exit(1);
        if (found.l_pid != getppid()) _exit(2);
        if (lock(fd, F_SETLK, F_WRLCK, 1, 2) || !lock(fd, F_SETLK, F_WRLCK, 4, 1)) _exit(3);
        if (lock(fd, F_SETLK, F_RDLCK, 4, 100)) _exit(4);
        if (flock(fd, LOCK_EX)) _exit(5);
        write(ends[1], "x", 1);
        _exit(lock(fd, F_SETLKW, F_WRLCK, 0, 1) ? 6 : 0); /* until the parent closes any of its descriptors */
    }
    IS(1, read(ends[0], text, 1));
    IS(-EAGAIN, lock(fd, F_SETLK, F_WRLCK, 1, 1));
    IS(-EDEADLK, lock(fd, F_SETLKW, F_WRLCK, 1, 1));
    IS(0, close(other));
    IS(0, ended(child));
    IS(0, lock(fd, F_SETLK, F_WRLCK, 0, 0)); /* the child's are gone */
    other = open("file", O_RDWR);
    IS(-EAGAIN, flock(other, LOCK_SH | LOCK_NB)); /* the child's, as it belongs to the open file */
    IS(0, flock(fd, LOCK_UN));
    IS(0, flock(other, LOCK_EX | LOCK_NB));
    IS(0, close(other));
    IS(0, flock(fd, LOCK_EX | LOCK_NB));
    IS(-EBADF, lock(open("file", O_RDONLY), F_SETLK, F_WRLCK, 0, 1));
    IS(-EINVAL, lock(fd, F_SETLK, 9, 0, 1));
    return 0;
}

static int memory(void)
{
    int fd = memfd_create("a name", MFD_ALLOW_SEALING);
    OK(fd >= 0);
    IS(0, ftruncate(fd, 8192));
    char *one = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *two = mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0);
    OK(one != MAP_FAILED && two != MAP_FAILED);
    strcpy(one, "mapped");
    OK(!strcmp(two, "mapped"));
    IS(6, pread(fd, text, 6, 0));
    OK(!memcmp(text, "mapped", 6));
    IS(7, pwrite(fd, "written", 7, 0));
    OK(!strcmp(two, "written"));
    pid_t child = fork();
    if (!child) strcpy(one, "by the child"), _exit(0);
    IS(0, ended(child));
    OK(!strcmp(two, "by the child"));
    IS(0, munmap(one, 8192));
    IS(0, munmap(two, 4096));
    IS(0, fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE));
    IS(F_SEAL_SHRINK | F_SEAL_WRITE, fcntl(fd, F_GET_SEALS));
    IS(-EPERM, write(fd, "x", 1));
    IS(-EPERM, ftruncate(fd, 1));
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    OK(!strcmp(linked(path), "/memfd:a name (deleted)"));
    IS(12, pread(open(path, O_RDONLY), text, 12, 0));
    IS(-EINVAL, fcntl(put("file", ""), F_GET_SEALS));
    return 0;
}

static int mapped(void)
{
    int fd = put("file", "0123456789");
    char *shown = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    OK(shown != MAP_FAILED);
    memcpy(shown, "AB", 2);
    IS(10, pread(fd, text, 100, 0));
    OK(!memcmp(text, "AB23456789", 10));
    IS(2, pwrite(fd, "CD", 2, 4));
    OK(!memcmp(shown, "AB23CD6789", 10));
    int other = open("file", O_WRONLY | O_APPEND);
    IS(2, write(other, "EF", 2));
    OK(!memcmp(shown, "AB23CD6789EF", 12));
    IS(0, ftruncate(fd, 4));
    OK(!memcmp(shown, "AB23\0\0\0", 7));
    IS(0, close(open("file", O_WRONLY | O_TRUNC)));
    IS(0, ftruncate(fd, 10));
    OK(!memcmp(shown, "\0\0\0\0\0", 5));
    return 0;
}

/* Paths of our own: what is there of them, and that nothing else can be done to them. */
static int own(void)
{
    static const char *const listed[] = {"/", "/dev", "/proc", "/proc/self", "/proc/self/fd", "/sys/devices/system/cpu"};
    static const char *const has[] = {"proc", "null", "meminfo", "maps", "0", "online"};
    struct stat status, same;
    for (int i = 0; i < 6; i++) {
        DIR *dir = opendir(listed[i]);
        OK(dir);
        int found = 0;
        for (struct dirent *entry; (entry = readdir(dir));) {
            found += !strcmp(entry->d_name, has[i]);
            if (i != 4) continue;
            IS(0, fstatat(dirfd(dir), entry->d_name, &status, AT_SYMLINK_NOFOLLOW));
            OK(S_ISLNK(status.st_mode) || *entry->d_name == '.');
        }
        OK(found == 1);
    }
    IS(0, chdir("/proc/self"));
    OK(getcwd(text, sizeof text) && atoi(strrchr(text, '/') + 1) == getpid());
    OK(open("status", O_RDONLY) >= 0 && open("../version", O_RDONLY) >= 0 && open("../../dev/null", O_RDWR) >= 0);
    OK(open("fd/../cmdline", O_RDONLY) >= 0);
    IS(0, chdir("/"));
    OK(open("dev/zero", O_RDONLY) >= 0 && open("proc/self/../uptime", O_RDONLY) >= 0);
    IS(0, lstat("/proc/self/exe", &status));
    OK(S_ISLNK(status.st_mode) && *linked("/proc/self/exe") == '/');
    IS(-ENOENT, mkdir("/proc/x", 0755));
    IS(-EEXIST, mkdir("/proc", 0755));
    IS(-EBUSY, rmdir("/proc"));
    IS(-EBUSY, rename("/dev", "/other"));
    IS(-EPERM, unlink("/dev/null"));
    IS(-EPERM, chmod("/dev/null", 0600));
    IS(-ENOENT, open("/proc/x", O_CREAT | O_WRONLY, 0644));
    IS(-EACCES, open("/proc/version", O_RDWR));
    IS(-EISDIR, open("/proc/self", O_RDWR));
    IS(-ENOTDIR, open("/proc/version/", O_RDONLY));
    IS(-ENOTDIR, open("/proc/version", O_DIRECTORY));
    IS(-ELOOP, open("/proc/self", O_NOFOLLOW));
    IS(-EISDIR, read(open("/proc", O_RDONLY), text, 1));
    IS(-ENOENT, open("/proc/self/fd/77", O_RDONLY));
    IS(-EXDEV, linkat(AT_FDCWD, "/proc/version", AT_FDCWD, "/stolen", 0));
    IS(-ENOENT, open("/dev/ptmx", O_RDWR));
    int version = open("/proc/version", O_RDONLY);
    IS(5, read(version, text, 5));
    IS(0, lseek(version, 0, SEEK_SET));
    IS(5, pread(version, text, 5, 6));
    OK(!memcmp(text, "versi", 5));
    IS(0, stat("/dev/null", &status));
    IS(0, stat("old", &same));
    OK(status.st_dev != same.st_dev || status.st_ino != same.st_ino);
    int maps = open("/proc/self/maps", O_RDONLY);
    OK(read(maps, text, sizeof text) > 100 && strstr(text, " r-xp "));
    return 0;
}

static int beneath(void) /* the root has a folder dev of its own, with a file in it */
{
    OK(open("/dev/mine", O_RDONLY) >= 0 && open("/dev/null", O_RDONLY) >= 0 && open("dev/sub/../mine", O_RDONLY) >= 0);
    OK(open("dev/sub/../null", O_RDONLY) >= 0);
    IS(0, mkdir("/dev/new", 0755));
    IS(0, rmdir("/dev/new"));
    IS(-EPERM, unlink("/dev/null"));
    IS(0, unlink("/dev/mine"));
    IS(0, chdir("/dev"));
    OK(open("null", O_RDONLY) >= 0 && open("sub/file", O_RDONLY) >= 0);
    DIR *dir = opendir(".");
    int found = 0;
    for (struct dirent *entry; (entry = readdir(dir));) found += !strcmp(entry->d_name, "sub") || !strcmp(entry->d_name, "zero");
    OK(found == 2);
    return 0;
}

/* Behind the wall around pltvm's own process. */
static int wall(void)
{
    struct stat status;
    close(put("file", ""));
    IS(0, symlink("file", "link"));
    IS(0, mkfifo("fifo", 0600));
    IS(-EPERM, mknod("device", S_IFCHR | 0600, 0x103));
    IS(0, chmod("file", 0751));
    IS(0, stat("file", &status));
    OK((status.st_mode & 07777) == 0751);
    IS(0, access("file", X_OK));
    IS(0, chmod("fifo", 0640)); /* which cannot be opened, so it is only told */
    IS(0, stat("fifo", &status));
    OK((status.st_mode & 07777) == 0640);
    IS(0, chmod("file", 04711)); /* nothing on the disk runs as somebody else */
    IS(0, stat("file", &status));
    OK((status.st_mode & 07777) == 04711);
    return 0;
}

/* What is open here is saved at each line that is printed. */
static int saved(void)
{
    char name[300];
    struct stat status;
    mkdir("d", 0755);
    for (int i = 0; i < 5; i++) snprintf(name, sizeof name, "d/%d", i), close(put(name, ""));
    int fd = open("d", O_RDONLY), version = open("/proc/version", O_RDONLY), memory = memfd_create("m", 0);
    int proc = open("/proc", O_RDONLY), locked = open("old", O_RDONLY);
    syscall(SYS_getdents64, fd, text, 100); /* ., .., 0 and 1 */
    syscall(SYS_getdents64, proc, text, 60);
    read(version, text, 6), write(memory, "in memory", 9), lseek(memory, 3, SEEK_SET);
    chdir("d"), chmod("1", 04700);
    OK(!flock(locked, LOCK_EX) && !lock(locked, F_SETLK, F_RDLCK, 3, 5));
    printf("ready\n");
    long size = syscall(SYS_getdents64, fd, text, sizeof text);
    for (long at = 0; at < size; at += *(uint16_t *)(text + at + 16)) printf("%s ", text + at + 19);
    printf("\n");
    OK(syscall(SYS_getdents64, proc, text, sizeof text) > 100);
    name[read(version, name, 7)] = 0;
    printf("%s\n", name);
    name[read(memory, name, 100)] = 0;
    printf("%s %s\n", name, strrchr(getcwd(text, sizeof text), '/'));
    stat("1", &status);
    printf("%o %ld %ld\n", status.st_mode, (long)status.st_ino, (long)status.st_mtim.tv_nsec);
    pid_t child = fork();
    if (!child) _exit(lock(locked, F_SETLK, F_WRLCK, 0, 0) == -1 && flock(open("../old", O_RDONLY), LOCK_SH | LOCK_NB) == -1);
    printf("locked: %d\n", ended(child));
    return 0;
}

static const struct { const char *name; int (*run)(void); } tests[] = {
    {"folders", folders}, {"sorted", sorted}, {"links", links}, {"opened_again", opened_again}, {"ways", ways},
    {"times", times}, {"locks", locks}, {"memory", memory}, {"mapped", mapped}, {"own", own},
    {"beneath", beneath}, {"wall", wall}, {"saved", saved},
};

int main(int argc, char **argv)
{
    setvbuf(stdout, 0, _IONBF, 0);
    for (unsigned i = 0; i < sizeof tests / sizeof *tests; i++)
        if (argc > 1 && !strcmp(argv[1], tests[i].name)) return tests[i].run();
    return 99;
}
