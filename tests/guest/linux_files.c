/* Files of Linux programs, by raw system calls: `linux_files NAME [ARGUMENT]` runs one test, 0 when all is well. */
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { GETCWD = 17, DUP = 23, DUP3 = 24, FCNTL = 25, IOCTL = 29, MKDIRAT = 34, UNLINKAT = 35, RENAMEAT = 38,
       FTRUNCATE = 46, FACCESSAT = 48, CHDIR = 49, OPENAT = 56, CLOSE = 57, LSEEK = 62, READ = 63, WRITE = 64,
       READV = 65, WRITEV = 66, PREAD = 67, PWRITE = 68, PPOLL = 73, READLINKAT = 78, FSTATAT = 79, FSTAT = 80,
       FSYNC = 82, FDATASYNC = 83, MMAP = 222, RENAMEAT2 = 276, STATX = 291, FACCESSAT2 = 439 };
enum { NOENT = -2, BADF = -9, ACCES = -13, FAULT = -14, BUSY = -16, EXIST = -17, NOTDIR = -20, ISDIR = -21,
       NXIO = -6, INVAL = -22, NOTTY = -25, FBIG = -27, SPIPE = -29, RANGE = -34, TOOLONG = -36, LOOP = -40, OVERFLOW = -75 };
#define HERE (-100)

static long call(long number, long a, long b, long c, long d, long e, long f)
{
    register long a7 asm("a7") = number, a0 asm("a0") = a, a1 asm("a1") = b, a2 asm("a2") = c, a3 asm("a3") = d,
                  a4 asm("a4") = e, a5 asm("a5") = f;
    asm volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5), "r"(a7) : "memory");
    return a0;
}
#define SIX(n, a, b, c, d, e, f, ...) call(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define S(...) SIX(__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define GIVES(wanted, ...) \
    do { long got = S(__VA_ARGS__); \
         if (got != (wanted)) { printf("line %d: %s gives %ld, not %ld\n", __LINE__, #__VA_ARGS__, got, (long)(wanted)); return 1; } \
    } while (0)

static char buffer[65536];

/* Every call that takes a path, with one that leads nowhere that the program may go. */
static int refused(const char *path, long number)
{
    static char info[256];
    GIVES(number, OPENAT, HERE, path, O_RDONLY);
    GIVES(number, OPENAT, HERE, path, O_WRONLY | O_CREAT, 0644);
    GIVES(number, OPENAT, HERE, path, O_WRONLY | O_TRUNC);
    GIVES(number, OPENAT, HERE, path, O_WRONLY | O_CREAT | O_EXCL, 0644);
    GIVES(number, OPENAT, HERE, path, O_RDONLY | O_NOFOLLOW);
    GIVES(number, OPENAT, HERE, path, O_RDONLY | O_DIRECTORY);
    GIVES(number, OPENAT, HERE, path, O_PATH);
    GIVES(number, MKDIRAT, HERE, path, 0755);
    GIVES(number, UNLINKAT, HERE, path, 0);
    GIVES(number, UNLINKAT, HERE, path, 0x200);
    GIVES(number, RENAMEAT2, HERE, path, HERE, "stolen", 0);
    GIVES(number, RENAMEAT2, HERE, "mine", HERE, path, 0);
    GIVES(number, FACCESSAT, HERE, path, 0);
    GIVES(number, FACCESSAT2, HERE, path, 4, 0x100);
    GIVES(number, READLINKAT, HERE, path, buffer, 100);
    GIVES(number, FSTATAT, HERE, path, info, 0);
    GIVES(number, FSTATAT, HERE, path, info, 0x100);
    GIVES(number, STATX, HERE, path, 0, 0x7ff, info);
    GIVES(number, CHDIR, path);
    return 0;
}

static int escape(const char *path)
{
    char number[8] = "";
    int length = strcspn(path, ":");
    memcpy(number, path, length < 7 ? length : 7);
    return refused(path + length + 1, -atol(number));
}

static int names(const char *unused)
{
    static char name[8192];
    memset(name, 'a', 300);
    if (refused(name, TOOLONG)) return 1;
    for (int i = 0; i < 4100; i++) name[i] = i % 2 ? '/' : '.';
    if (refused(name, TOOLONG)) return 1;
    memset(name, 0xff, 255);
    name[255] = 0;
    int fd = S(OPENAT, HERE, name, O_RDWR | O_CREAT, 0644);
    if (fd < 3) return 2;
    GIVES(0, UNLINKAT, HERE, name, 0);
    if (refused("", NOENT)) return 1;
    return 0;
}

static int numbers(const char *unused)
{
    int fd = S(OPENAT, HERE, "t", O_RDWR | O_CREAT, 0644), folder = S(OPENAT, HERE, ".", O_RDONLY);
    int readonly = S(OPENAT, HERE, "t", O_RDONLY), writeonly = S(OPENAT, HERE, "t", O_WRONLY);
    struct iovec vector = {buffer, 1UL << 63};
    const long top = 0x7fffffffffffffff, bottom = (long)(1UL << 63);
    GIVES(5, WRITE, fd, "hello", 5);
    GIVES(INVAL, PREAD, fd, buffer, 10, -1);
    GIVES(INVAL, PWRITE, fd, buffer, 10, -1);
    GIVES(INVAL, PREAD, fd, buffer, 10, bottom);
    GIVES(INVAL, PREAD, fd, buffer, 10, top);
    GIVES(INVAL, PWRITE, fd, buffer, 10, top);
    GIVES(0, PREAD, fd, buffer, 10, top - 10);
    GIVES(FBIG, PWRITE, fd, buffer, 10, top - 10);
    GIVES(INVAL, FTRUNCATE, fd, -1);
    GIVES(INVAL, FTRUNCATE, fd, bottom);
    GIVES(FBIG, FTRUNCATE, fd, top);
    GIVES(INVAL, FTRUNCATE, readonly, 0);
    GIVES(INVAL, LSEEK, fd, -1, SEEK_SET);
    GIVES(INVAL, LSEEK, fd, bottom, SEEK_CUR);
    GIVES(INVAL, LSEEK, fd, 0, 77);
    GIVES(0, LSEEK, fd, 0, SEEK_SET);
    GIVES(FAULT, READ, fd, buffer, -1);
    GIVES(FAULT, WRITE, fd, buffer, bottom);
    GIVES(FAULT, PREAD, fd, buffer, top, 0);
    GIVES(5, READ, fd, buffer, 32 << 20);
    GIVES(INVAL, READV, fd, &vector, 1);
    GIVES(INVAL, WRITEV, fd, &vector, 1);
    GIVES(INVAL, READV, fd, &vector, -1);
    GIVES(INVAL, WRITEV, fd, &vector, -1);
    GIVES(INVAL, WRITEV, fd, &vector, 1025);
    GIVES(0, WRITEV, fd, &vector, 0);
    GIVES(FAULT, WRITEV, fd, -16L, 4);
    GIVES(BADF, WRITE, readonly, buffer, 1);
    GIVES(BADF, PWRITE, readonly, buffer, 1, 0);
    GIVES(BADF, READ, writeonly, buffer, 1);
    GIVES(BADF, PREAD, writeonly, buffer, 1, 0);
    GIVES(ISDIR, READ, folder, buffer, 1);
    GIVES(BADF, WRITE, folder, buffer, 1);
    GIVES(INVAL, FCNTL, fd, F_DUPFD, -1);
    GIVES(INVAL, FCNTL, fd, F_DUPFD, 1 << 20);
    GIVES(O_RDWR | 0100000, FCNTL, fd, F_GETFL);
    GIVES(O_RDONLY | 0100000, FCNTL, readonly, F_GETFL);
    GIVES(BADF, DUP3, fd, 0x7fffffff, 0);
    GIVES(BADF, DUP3, fd, -1, 0);
    GIVES(INVAL, READLINKAT, HERE, "t", buffer, 100);
    GIVES(INVAL, READLINKAT, HERE, "link", buffer, 0);
    GIVES(INVAL, READLINKAT, HERE, "link", buffer, -1);
    GIVES(1, READLINKAT, HERE, "link", buffer, 1);
    GIVES(INVAL, UNLINKAT, HERE, "t", 1);
    GIVES(INVAL, FACCESSAT, HERE, "t", 8);
    GIVES(BADF, OPENAT, 77, "t", 0);
    GIVES(NOTDIR, OPENAT, fd, "t", 0);
    GIVES(NOTDIR, OPENAT, 1, "t", 0);
    GIVES(INVAL, MMAP, 0, 4096, PROT_READ, MAP_SHARED | MAP_PRIVATE | PROT_WRITE, fd, 1);
    GIVES(OVERFLOW, MMAP, 0, 8192, PROT_READ, MAP_PRIVATE, fd, 1UL << 63);
    GIVES(OVERFLOW, MMAP, 0, 8192, PROT_READ, MAP_PRIVATE, fd, top - 4095);
    long at = S(MMAP, 0, 8192, PROT_READ, MAP_PRIVATE, fd, 0);
    return at > 0 && !memcmp((char *)at, "hello", 6) ? 0 : 4;
}

static int kinds(const char *unused)
{
    static const char *const special[] = {"socket", "to-socket"}, *const pipes[] = {"pipe", "to-pipe"};
    static const int flags[] = {O_RDONLY, O_WRONLY, O_RDWR, O_WRONLY | O_TRUNC, O_RDONLY | O_NONBLOCK,
                                O_WRONLY | O_CREAT, O_WRONLY | O_APPEND};
    struct stat info;
    for (int i = 0; i < 2; i++) { /* a pipe of the kernel's own stands for it */
        int other = S(OPENAT, HERE, pipes[1 - i], O_RDONLY | O_NONBLOCK);
        GIVES(0, READ, other, buffer, 1); /* nobody writes, though somebody waits outside */
        int end = S(OPENAT, HERE, pipes[i], O_WRONLY | O_NONBLOCK);
        GIVES(5, WRITE, end, "named", 5);
        GIVES(5, READ, other, buffer, 100);
        GIVES(SPIPE, LSEEK, end, 0, 0);
        GIVES(0, CLOSE, end);
        GIVES(0, CLOSE, other);
        GIVES(NXIO, OPENAT, HERE, pipes[i], O_WRONLY | O_NONBLOCK);
        GIVES(0, FACCESSAT, HERE, pipes[i], 6);
        GIVES(NOTDIR, OPENAT, HERE, pipes[i], O_DIRECTORY);
        GIVES(EXIST, OPENAT, HERE, pipes[i], O_CREAT | O_EXCL | O_RDWR, 0644);
        int path = S(OPENAT, HERE, pipes[i], O_PATH);
        GIVES(BADF, READ, path, buffer, 1);
        GIVES(0, CLOSE, path);
    }
    for (int i = 0; i < 2; i++) {
        for (unsigned j = 0; j < sizeof flags / sizeof *flags; j++) GIVES(NXIO, OPENAT, HERE, special[i], flags[j], 0644);
        GIVES(ACCES, FACCESSAT, HERE, special[i], 4);
        GIVES(0, FACCESSAT, HERE, special[i], 0);
        GIVES(NOTDIR, OPENAT, HERE, special[i], O_DIRECTORY);
        GIVES(EXIST, OPENAT, HERE, special[i], O_CREAT | O_EXCL | O_RDWR, 0644);
    }
    GIVES(0, FSTATAT, HERE, "pipe", &info, 0);
    if (!S_ISFIFO(info.st_mode)) return 2;
    GIVES(0, FSTATAT, HERE, "to-file", &info, 0x100);
    if (!S_ISLNK(info.st_mode)) return 3;
    GIVES(0, FSTATAT, HERE, "to-file", &info, 0);
    if (!S_ISREG(info.st_mode) || info.st_size != 6) return 4;
    GIVES(LOOP, OPENAT, HERE, "to-file", O_RDONLY | O_NOFOLLOW);
    GIVES(LOOP, OPENAT, HERE, "to-file", O_WRONLY | O_TRUNC | O_NOFOLLOW);
    GIVES(LOOP, OPENAT, HERE, "to-nothing", O_RDWR | O_CREAT | O_NOFOLLOW, 0644);
    GIVES(NOTDIR, OPENAT, HERE, "to-file", O_RDONLY | O_NOFOLLOW | O_DIRECTORY);
    GIVES(EXIST, OPENAT, HERE, "to-file", O_RDWR | O_CREAT | O_EXCL, 0644);
    GIVES(EXIST, OPENAT, HERE, "to-nothing", O_RDWR | O_CREAT | O_EXCL, 0644);
    GIVES(EXIST, MKDIRAT, HERE, "to-nothing", 0755);
    GIVES(NOTDIR, OPENAT, HERE, "file", O_DIRECTORY);
    GIVES(NOTDIR, OPENAT, HERE, "file/", 0);
    GIVES(NOTDIR, OPENAT, HERE, "file/.", 0);
    GIVES(NOTDIR, OPENAT, HERE, "file/..", 0);
    GIVES(NOTDIR, UNLINKAT, HERE, "file/", 0);
    GIVES(NOTDIR, UNLINKAT, HERE, "to-folder/", 0x200);
    GIVES(NOTDIR, RENAMEAT2, HERE, "file/", HERE, "other");
    GIVES(NOTDIR, RENAMEAT2, HERE, "file", HERE, "other/");
    GIVES(ISDIR, OPENAT, HERE, "new/", O_RDWR | O_CREAT, 0644);
    GIVES(NOENT, OPENAT, HERE, "new/", O_RDWR);
    GIVES(ISDIR, OPENAT, HERE, "folder", O_RDWR);
    GIVES(ISDIR, OPENAT, HERE, "folder", O_CREAT, 0644);
    GIVES(ISDIR, UNLINKAT, HERE, "folder", 0);
    GIVES(ISDIR, UNLINKAT, HERE, "/", 0);
    GIVES(BUSY, UNLINKAT, HERE, "/", 0x200);
    GIVES(INVAL, UNLINKAT, HERE, "folder/.", 0x200);
    GIVES(BUSY, RENAMEAT2, HERE, ".", HERE, "other");
    GIVES(BUSY, RENAMEAT2, HERE, "file", HERE, "//");
    GIVES(EXIST, MKDIRAT, HERE, "folder/..", 0755);
    GIVES(NOENT, OPENAT, HERE, "nothing/../file", 0);
    GIVES(0, CHDIR, "folder/..");
    GIVES(0, CHDIR, "folder");
    GIVES(NOENT, FACCESSAT, HERE, "file", 0);
    GIVES(0, FACCESSAT, HERE, "../file", 0);
    GIVES(0, CHDIR, "../.."); /* above the root is the root */
    GIVES(0, CHDIR, "..");
    GIVES(NOTDIR, CHDIR, "file");
    GIVES(0, FSTATAT, HERE, "", &info, 0x1000);
    if (!S_ISDIR(info.st_mode)) return 5;
    int fd = S(OPENAT, HERE, "to-folder/", O_NOFOLLOW);
    GIVES(0, MKDIRAT, fd, "made/", 0700);
    GIVES(0, RENAMEAT2, fd, "made/", HERE, "moved/");
    GIVES(0, UNLINKAT, HERE, "moved/", 0x200);
    GIVES(0, RENAMEAT2, HERE, "to-file", HERE, "to-file2"); /* the link, not the file */
    GIVES(0, UNLINKAT, HERE, "to-file2", 0);
    GIVES(0, FACCESSAT, HERE, "file", 6);
    fd = S(OPENAT, HERE, "to-nothing", O_RDWR | O_CREAT, 0644);
    GIVES(0, FACCESSAT, HERE, "nothing", 0);
    return fd < 3;
}

static int base(const char *unused)
{
    int fd = S(OPENAT, HERE, "a/b", O_RDONLY | O_DIRECTORY);
    GIVES(6, READ, S(OPENAT, fd, "../../file", O_RDONLY), buffer, 100);
    GIVES(6, READ, S(OPENAT, fd, "../../../file", O_RDONLY), buffer, 100); /* above the root is the root */
    GIVES(ACCES, OPENAT, fd, "../../../root/file", O_RDONLY);
    GIVES(0, MKDIRAT, HERE, "c", 0755);
    GIVES(0, RENAMEAT2, HERE, "a/b", HERE, "c/moved");
    int made = S(OPENAT, fd, "new", O_RDWR | O_CREAT, 0644);
    GIVES(5, WRITE, made, "hello", 5);
    GIVES(5, READ, S(OPENAT, HERE, "c/moved/new", O_RDONLY), buffer, 100);
    GIVES(NOENT, OPENAT, fd, "../b", O_RDONLY);
    GIVES(5, READ, S(OPENAT, fd, "../moved/new", O_RDONLY), buffer, 100);
    GIVES(6, READ, S(OPENAT, fd, "/file", O_RDONLY), buffer, 100);
    GIVES(0, UNLINKAT, fd, "new", 0);
    GIVES(0, UNLINKAT, HERE, "c/moved", 0x200);
    GIVES(NOENT, OPENAT, fd, "new", O_RDWR | O_CREAT, 0644); /* the folder is gone */
    return 0;
}

static int vectors(const char *unused)
{
    struct iovec parts[3] = {{"one ", 4}, {"two ", 4}, {(void *)8, 4}}, into[3] = {{buffer, 4}, {buffer + 10, 3}, {(void *)8, 4}};
    int fd = S(OPENAT, HERE, "t", O_RDWR | O_CREAT, 0644);
    GIVES(8, WRITEV, fd, parts, 2);
    GIVES(8, WRITEV, fd, parts, 3); /* as far as it can be read */
    GIVES(FAULT, WRITEV, fd, parts + 2, 1);
    GIVES(0, LSEEK, fd, 0, SEEK_SET);
    GIVES(7, READV, fd, into, 2);
    if (memcmp(buffer, "one ", 4) || memcmp(buffer + 10, "two", 3)) return 2;
    GIVES(0, LSEEK, fd, 0, SEEK_SET);
    GIVES(7, READV, fd, into, 3);
    GIVES(FAULT, READV, fd, into + 2, 1);
    parts[0] = (struct iovec){(void *)-16, 0}; /* not the program's, though nothing is wanted of it */
    GIVES(FAULT, WRITEV, fd, parts, 1);
    return 0;
}

/* All of the two forms of a file's state: what is written, and that nothing is behind it. */
static int described(const char *path, int fd, unsigned mode, long size, long device, long number)
{
    static struct stat first; /* of its times it is known that they agree, and are not in the future */
    const long blocks = size > 1L << 32 ? 0 : (size + 4095) / 4096 * 8, on = device ? 5 : 1; /* or a hole */
    GIVES(0, FSTAT, fd, &first);
    if (first.st_mtim.tv_sec > first.st_ctim.tv_sec || first.st_ctim.tv_sec > 1700000100) return printf("%s: times\n", path);
    struct { uint64_t dev, ino; uint32_t mode, nlink, uid, gid; uint64_t rdev, pad; int64_t size; int32_t blksize, pad2;
             int64_t blocks; struct timespec times[3]; uint64_t rest;
    } expected = {on, number, mode, 1, .rdev = device, .size = size, .blksize = 4096, .blocks = blocks,
                  .times = {first.st_atim, first.st_mtim, first.st_ctim}};
    struct { uint32_t mask, blksize; uint64_t attributes; uint32_t nlink, uid, gid; uint16_t mode, pad;
             uint64_t ino, size, blocks, attributes_mask, times[8]; uint32_t rdev[2], dev[2]; uint64_t rest[14];
    } wide = {0x7ff, 4096, .nlink = 1, .mode = mode, .ino = number, .size = size, .blocks = blocks,
              .times = {first.st_atim.tv_sec, first.st_atim.tv_nsec, 0, 0, first.st_ctim.tv_sec,
                        first.st_ctim.tv_nsec, first.st_mtim.tv_sec, first.st_mtim.tv_nsec},
              .rdev = {device >> 8, device & 0xff}, .dev = {0, on}};
    static unsigned char info[sizeof wide + 1];
    for (int way = 0; way < 3; way++) {
        memset(info, 0xee, sizeof info);
        if (way == 0) GIVES(0, FSTATAT, HERE, path, info, 0);
        if (way == 1) GIVES(0, FSTAT, fd, info);
        if (way == 2) GIVES(0, FSTATAT, fd, "", info, 0x1000);
        if (memcmp(info, &expected, sizeof expected) || info[sizeof expected] != 0xee)
            return printf("%s: stat %d\n", path, way);
    }
    for (int way = 0; way < 2; way++) {
        memset(info, 0xee, sizeof info);
        if (way == 0) GIVES(0, STATX, HERE, path, 0, 0x7ff, info);
        if (way == 1) GIVES(0, STATX, fd, "", 0x1000, 0x7ff, info);
        if (memcmp(info, &wide, sizeof wide) || info[sizeof wide] != 0xee)
            return printf("%s: statx %d\n", path, way);
    }
    return 0;
}

static int state(const char *unused)
{
    struct stat info;
    int fd = S(OPENAT, HERE, "file", O_RDWR), null = S(OPENAT, HERE, "/dev/null", O_RDWR);
    static const long sizes[] = {0, 1, 511, 512, 513, 1024, 1025};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        GIVES(0, FTRUNCATE, fd, sizes[i]);
        if (described("file", fd, 0100640, sizes[i], 0, 2)) return 2;
    }
    if (described("big", S(OPENAT, HERE, "big", 0), 0100600, 5L << 32, 0, 3)) return 7;
    if (described("/dev/null", null, 020666, 0, 0x103, 3)) return 3;
    GIVES(0, FSTAT, 1, &info);
    if (info.st_mode != 010600 || info.st_size) return 4; /* a pipe, as it is outside */
    GIVES(BADF, FSTAT, 77, &info);
    GIVES(BADF, FSTATAT, 77, "", &info, 0x1000);
    GIVES(FAULT, FSTAT, fd, 8);
    GIVES(0, STATX, HERE, "to-file", 0x100, 0x7ff, buffer);
    if ((*(uint16_t *)(buffer + 28) & S_IFMT) != S_IFLNK) return 5;
    GIVES(0, FSTATAT, HERE, "", &info, 0x1100);
    if (!S_ISDIR(info.st_mode)) return 6;
    GIVES(INVAL, FACCESSAT2, HERE, "file", 0, 0x400);
    GIVES(INVAL, FACCESSAT2, HERE, "file", 16, 0);
    GIVES(0, FACCESSAT2, HERE, "file", 6, 0x200);
    GIVES(NOENT, FACCESSAT2, HERE, "to-nothing", 0, 0x200);
    GIVES(0, FACCESSAT2, HERE, "to-nothing", 0, 0x300);
    GIVES(NOENT, FACCESSAT, HERE, "to-nothing", 0, 0x100); /* it takes no flags */
    return 0;
}

static int text(const char *program)
{
    int length = strlen(program);
    memset(buffer, '#', 100);
    GIVES(length, READLINKAT, HERE, "/proc/self/exe", buffer, 100);
    if (memcmp(buffer, program, length) || buffer[length] != '#') return 2;
    memset(buffer, '#', 100);
    GIVES(3, READLINKAT, HERE, "/proc/self/exe", buffer, 3);
    if (memcmp(buffer, program, 3) || buffer[3] != '#') return 3;
    GIVES(4, READLINKAT, HERE, "to-file", buffer, 100);
    if (memcmp(buffer, "file#", 5)) return 4;
    GIVES(INVAL, READLINKAT, HERE, "to-file", buffer, 1L << 31);
    memset(buffer, '#', 100);
    GIVES(2, GETCWD, buffer, 2);
    if (memcmp(buffer, "/\0#", 3)) return 5;
    GIVES(RANGE, GETCWD, buffer, 1);
    GIVES(FAULT, GETCWD, 8, 2);
    GIVES(0, RENAMEAT, HERE, "file", HERE, "file2");
    GIVES(0, RENAMEAT, S(OPENAT, HERE, ".", 0), "file2", S(OPENAT, HERE, "folder", 0), "file3");
    GIVES(0, FACCESSAT, HERE, "folder/file3", 0);
    GIVES(INVAL, RENAMEAT2, HERE, "mine", HERE, "other", 8);
    GIVES(INVAL, RENAMEAT2, HERE, "mine", HERE, "other", 4);
    GIVES(INVAL, RENAMEAT2, HERE, "mine", HERE, "other", 3);
    GIVES(EXIST, RENAMEAT2, HERE, "mine", HERE, "folder", 1);
    GIVES(NOENT, RENAMEAT2, HERE, "mine", HERE, "other", 2);
    GIVES(INVAL, UNLINKAT, HERE, "folder", 0x201);
    GIVES(0, MKDIRAT, HERE, "made", 0750);
    struct stat info;
    GIVES(0, FSTATAT, HERE, "made", &info, 0);
    return info.st_mode != 040750;
}

static int descriptors(const char *unused)
{
    int fd = S(OPENAT, HERE, "file", O_RDWR), null = S(OPENAT, HERE, "/dev/null", O_RDWR);
    unsigned short size[5] = {7, 7, 7, 7, 7};
    GIVES(fd + 2, DUP, fd);
    GIVES(4, READ, fd + 2, buffer, 4);
    GIVES(2, READ, fd, buffer, 100); /* they share the offset */
    if (memcmp(buffer, "de", 2)) return 2;
    GIVES(BADF, DUP, 77);
    GIVES(20, DUP3, fd, 20, 0);
    GIVES(6, LSEEK, 20, 0, SEEK_CUR);
    GIVES(INVAL, DUP3, fd, fd, 0);
    GIVES(INVAL, DUP3, fd, fd | 1L << 32, 0); /* a number of 32 bits */
    GIVES(BADF, DUP3, 77, 20, 0);
    GIVES(30, FCNTL, fd, F_DUPFD, 30);
    GIVES(31, FCNTL, fd, 1030, 30);
    for (int command = 1; command < 5; command++) GIVES(command == 3 ? O_RDWR | 0100000 : 0, FCNTL, fd, command, 0);
    GIVES(FAULT, FCNTL, fd, 5, 0);
    GIVES(INVAL, FCNTL, fd, 99, 0);
    GIVES(BADF, FCNTL, 77, 1, 0);
    GIVES(0, CLOSE, 31);
    GIVES(BADF, CLOSE, 31);
    GIVES(0, FSYNC, fd);
    GIVES(BADF, FDATASYNC, 31);
    GIVES(0, PREAD, null, buffer, 1, 0);
    GIVES(SPIPE, PWRITE, 1, buffer, 1, 0);
    GIVES(INVAL, FTRUNCATE, null, 0);
    GIVES(6, LSEEK, fd, 0, SEEK_END);
    GIVES(4, LSEEK, fd, -2, SEEK_CUR);
    GIVES(3, PREAD, fd, buffer, 100, 3);
    if (memcmp(buffer, "ide", 3)) return 3;
    GIVES(2, PWRITE, fd, "IS", 2, 1);
    GIVES(2, READ, fd, buffer, 100);
    GIVES(6, PREAD, fd, buffer, 6, 0);
    if (memcmp(buffer, "iISide", 6)) return 4;
    GIVES(FAULT, READ, fd, 1UL << 63, 1);
    GIVES(FAULT, WRITE, fd, 8, 1);
    memset(buffer, '#', 100);
    GIVES(NOTTY, IOCTL, 1, 0x5401 | 7L << 32, buffer); /* it is no terminal outside */
    for (int i = 0; i < 37; i++) if (buffer[i] != '#') return 5;
    GIVES(NOTTY, IOCTL, 0, 0x5413, size);
    if (size[0] != 7 || size[4] != 7) return 6;
    GIVES(NOTTY, IOCTL, fd, 0x5401, buffer);
    GIVES(NOTTY, IOCTL, fd, 0x5413, buffer);
    GIVES(NOTTY, IOCTL, 1, 0x5402, buffer);
    GIVES(BADF, IOCTL, 77, 0x5401, buffer);
    return 0;
}

static int polled(const char *unused)
{
    static struct pollfd polls[1026];
    int fd = S(OPENAT, HERE, "file", O_RDWR);
    for (int i = 0; i < 1026; i++) polls[i] = (struct pollfd){fd, POLLIN | POLLOUT, 0x77};
    polls[1].fd = 77;
    polls[2].events = 0;
    polls[3].events = 0x300;
    GIVES(3, PPOLL, polls, 4, 0);
    static const short results[] = {POLLIN | POLLOUT, POLLNVAL, 0, 0x100, 0x77};
    for (int i = 0; i < 5; i++) if (polls[i].revents != results[i]) return i + 2;
    if (polls[0].events != (POLLIN | POLLOUT) || polls[0].fd != fd) return 10;
    static const struct timespec at_once;
    GIVES(0, PPOLL, polls, 0, &at_once);
    GIVES(1023, PPOLL, polls, 1024, 0); /* RLIMIT_NOFILE */
    if (polls[1023].revents != (POLLIN | POLLOUT) || polls[1024].revents != 0x77) return 11;
    GIVES(INVAL, PPOLL, polls, 1025, 0);
    GIVES(FAULT, PPOLL, 8, 1, 0);
    return 0;
}

/* One call with 256 buffers of 16 MiB each. */
static int huge(const char *unused)
{
    static char big[16 << 20];
    static struct iovec parts[1024];
    for (int i = 0; i < 256; i++) parts[i] = (struct iovec){big, sizeof big};
    int null = S(OPENAT, HERE, "/dev/null", O_RDWR), zero = S(OPENAT, HERE, "/dev/zero", O_RDWR);
    GIVES(sizeof big, WRITEV, null, parts, 256);
    GIVES(sizeof big, READV, zero, parts, 256);
    int sparse = S(OPENAT, HERE, "sparse", O_RDONLY);
    GIVES(sizeof big, READV, sparse, parts, 256);
    if (S(MMAP, 0, 128L << 20, PROT_READ, MAP_PRIVATE, sparse, 1L << 30) <= 0) return 3;
    if (S(MMAP, 0, 1L << 30, PROT_READ, MAP_PRIVATE, sparse, 0) >= 0) return 4; /* more than there is RAM */
    long more = S(MMAP, 0, 64L << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (more <= 0) return 5;
    for (long at = 0; at < 64L << 20; at += 4096) *(volatile char *)(more + at) = 1; /* none of it is lost */
    return 0;
}

static const struct { const char *name; int (*run)(const char *); } tests[] = {
    {"escape", escape}, {"names", names}, {"numbers", numbers}, {"kinds", kinds}, {"base", base}, {"vectors", vectors},
    {"huge", huge}, {"state", state}, {"text", text}, {"descriptors", descriptors}, {"polled", polled},
};

int main(int argc, char **argv)
{
    for (unsigned i = 0; i < sizeof tests / sizeof *tests; i++)
        if (argc > 1 && !strcmp(argv[1], tests[i].name)) return tests[i].run(argc > 2 ? argv[2] : "");
    return 99;
}
