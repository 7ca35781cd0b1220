/* What a Linux program asks of its system: `linux WHAT COUNT`. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int compare(const void *a, const void *b)
{
    long x = atol(*(char *const *)a), y = atol(*(char *const *)b);
    return (x > y) - (x < y);
}

/* As `sort -n` does: lines in memory, compared as the numbers that they say. */
static void sort(int count)
{
    char **lines = malloc(count * sizeof *lines);
    unsigned seed = 1;
    for (int i = 0; i < count; i++) {
        char text[24];
        seed = seed * 1103515245 + 12345;
        snprintf(text, sizeof text, "%u", seed >> 4);
        lines[i] = strdup(text);
    }
    qsort(lines, count, sizeof *lines, compare);
    for (int i = 1; i < count; i++)
        if (atol(lines[i - 1]) > atol(lines[i])) exit(1);
}

static void ping(int count)
{
    int there[2], back[2];
    char byte = 0;
    if (pipe(there) || pipe(back)) exit(1);
    if (!fork()) {
        while (count-- && read(there[0], &byte, 1) == 1) write(back[1], &byte, 1);
        _exit(0);
    }
    while (count--) write(there[1], &byte, 1), read(back[0], &byte, 1);
    wait(0);
}

int main(int argc, char **argv)
{
    static char page[4096];
    const char *what = argc > 1 ? argv[1] : "nothing";
    int count = argc > 2 ? atoi(argv[2]) : 0, status;

    if (!strcmp(what, "call"))
        while (count--) syscall(SYS_getppid);
    if (!strcmp(what, "read")) {
        int file = open("data", O_RDWR | O_CREAT, 0600);
        write(file, page, sizeof page);
        while (count--)
            if (pread(file, page, sizeof page, 0) != sizeof page) return 1;
    }
    if (!strcmp(what, "stat")) {
        struct stat state;
        while (count--)
            if (stat("data", &state)) return 1;
    }
    if (!strcmp(what, "fork"))
        while (count--) {
            if (!fork()) _exit(0);
            wait(&status);
        }
    if (!strcmp(what, "exec")) /* this program, which then does nothing */
        while (count--) {
            if (!vfork()) execl(argv[0], argv[0], (char *)0), _exit(1);
            wait(&status);
            if (status) return 1;
        }
    if (!strcmp(what, "ping")) ping(count);
    if (!strcmp(what, "memory")) { /* so many MiB, then a third more */
        size_t size = (size_t)count << 20;
        char *block = malloc(size);
        memset(block, 1, size);
        block = realloc(block, size / 3 * 4);
        memset(block + size, 2, size / 3);
        return block[0] != 1 || block[size] != 2;
    }
    if (!strcmp(what, "sort")) sort(count);
    return 0;
}
