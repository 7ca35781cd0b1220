/* Ways to end: exit runs what atexit registered and flushes, _exit and signals do neither. */
#include "say.h"
#include <sys/syscall.h>

static int out;
static void first(void) { write(out, "first\n", 6); }
static void second(void) { write(out, "second\n", 7); }

static void child(const char *what, int how) {
    char text[128] = "";
    int ends[2];
    pipe(ends);
    pid_t pid = forked();
    if (!pid) {
        out = ends[1];
        atexit(first), atexit(second);
        FILE *stream = fdopen(ends[1], "w");
        fputs("buffered ", stream);
        switch (how) {
        case 0: exit(1);
        case 1: _exit(2);
        case 2: quick_exit(3);
        case 3: syscall(SYS_exit, 4);
        case 4: syscall(SYS_exit_group, 261);
        case 5: kill(getpid(), SIGKILL);
        case 6: abort();
        case 7: fflush(stream), raise(SIGTERM);
        case 8: exit(-1);
        }
    }
    close(ends[1]);
    size_t size = 0;
    for (ssize_t n; (n = read(ends[0], text + size, sizeof text - size)) > 0;) size += n;
    close(ends[0]);
    say("%s wrote: '%s'", what, text);
    reap(what, pid);
}

int main(void) {
    static const char *names[] = {"exit",    "_exit", "quick_exit", "SYS_exit", "SYS_exit_group",
                                  "SIGKILL", "abort", "SIGTERM",    "exit(-1)"};
    for (int i = 0; i < 9; i++) child(names[i], i);
    atexit(first);
    out = 1;
    return 44;
}
