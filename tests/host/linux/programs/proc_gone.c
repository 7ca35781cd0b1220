/* The folder of a process in /proc, held open while the process ends, is waited for, and is gone. */
#include "say.h"
#include <dirent.h>
#include <sys/stat.h>

static int folder;

static void look(const char *when) {
    static const char *texts[] = {"cmdline", "comm", "stat", "status", "statm"};
    static const char *links[] = {"cwd", "exe", "root"};
    char line[64], to[256];
    for (int i = 0; i < 5; i++) {
        int fd = openat(folder, texts[i], O_RDONLY);
        snprintf(line, sizeof line, "%s: %s", when, texts[i]);
        told(line, fd);
        if (fd >= 0) close(fd);
    }
    for (int i = 0; i < 3; i++) {
        snprintf(line, sizeof line, "%s: %s", when, links[i]);
        told(line, readlinkat(folder, links[i], to, sizeof to));
    }
}

int main(void) {
    int ends[2];
    char path[64], one;
    siginfo_t info;
    pipe(ends);
    pid_t pid = forked();
    if (!pid) {
        close(ends[1]);
        read(ends[0], &one, 1);
        _exit(3);
    }
    snprintf(path, sizeof path, "/proc/%d", pid);
    told("open", folder = open(path, O_RDONLY | O_DIRECTORY));
    look("alive");
    close(ends[1]);
    tell("waitid", waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
    look("zombie");
    reap("child", pid);
    look("gone");
    tell("stat of it", fstatat(folder, "fd", &(struct stat){0}, 0));
    tell("open again", open(path, O_RDONLY));
    return 0;
}
