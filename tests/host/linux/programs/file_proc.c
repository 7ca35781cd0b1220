/* What a process finds about itself in /proc. */
#include "say.h"
#include <dirent.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

static char text[65536];
static const char *slurp(const char *path) {
    FILE *in = fopen(path, "r");
    if (!in) return tell(path, -1), "";
    size_t size = fread(text, 1, sizeof text - 1, in);
    text[size] = 0;
    fclose(in);
    return text;
}

static long field(const char *name) {
    const char *at = strstr(text, name);
    return at ? strtol(at + strlen(name), 0, 10) : -1;
}

int main(int argc, char **argv, char **variables) {
    char link[4096], path[64];
    struct stat a, b;
    ssize_t size = readlink("/proc/self/exe", link, sizeof link - 1);
    link[size > 0 ? size : 0] = 0;
    yes("exe is a path", link[0] == '/');
    say("its name: %s", strrchr(link, '/') ? strrchr(link, '/') + 1 : "none");
    yes("it leads to this program", !stat("/proc/self/exe", &a) && !stat(link, &b) && a.st_ino == b.st_ino);
    slurp("/proc/self/cmdline");
    yes("cmdline is argv[0]", strlen(text) > 0 && !strcmp(text, argv[0]));
    prctl(PR_SET_NAME, "a name");
    say("comm: %s", strtok((char *)slurp("/proc/self/comm"), "\n"));
    size = readlink("/proc/self", link, sizeof link - 1);
    link[size > 0 ? size : 0] = 0;
    yes("self is my pid", atoi(link) == getpid());

    slurp("/proc/self/status");
    yes("status: name", strstr(text, "Name:\ta name\n") == text);
    yes("status: pid", field("\nPid:\t") == getpid() && field("\nPPid:\t") == getppid());
    yes("status: one thread", field("\nThreads:\t") == 1);
    yes("status: memory", field("\nVmRSS:\t") > 0 && field("\nVmSize:\t") >= field("\nVmRSS:\t"));
    yes("status: users", field("\nUid:\t") == getuid() && field("\nGid:\t") == getgid());
    yes("status: running", strstr(text, "\nState:\tR") != 0);

    slurp("/proc/self/stat");
    int pid = 0, ppid = 0, group = 0, session = 0;
    char state = 0;
    sscanf(text, "%d (a name) %c %d %d %d", &pid, &state, &ppid, &group, &session);
    yes("stat",
        pid == getpid() && state == 'R' && ppid == getppid() && group == getpgrp() && session == getsid(0));

    static const char *const NAMES[] = {"cgroup", "io", "limits", "loginuid", "oom_score", "sessionid", "wchan"};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        snprintf(path, sizeof path, "/proc/self/%s", NAMES[i]);
        if (!*slurp(path)) say("%s is empty", NAMES[i]);
    }
    slurp("/proc/self/io");
    yes("io", field("rchar: ") >= 0 && field("\ncancelled_write_bytes: ") == 0);
    slurp("/proc/self/smaps_rollup");
    yes("smaps_rollup", strstr(text, "[rollup]") && field("\nRss:") > 0 && field("\nPrivate_Dirty:") > 0);

    /* maps: lines that cover what is mapped, with its rights. */
    char *page = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FILE *maps = fopen("/proc/self/maps", "r");
    int found = 0, stack = 0, sorted = 1, code = 0;
    unsigned long from, to, last = 0;
    char rights[8], line[512], *here = (char *)&found;
    while (maps && fgets(line, sizeof line, maps)) {
        if (sscanf(line, "%lx-%lx %4s", &from, &to, rights) != 3) continue;
        sorted &= from >= last, last = to;
        if ((unsigned long)page >= from && (unsigned long)page < to) found = !strcmp(rights, "r--p");
        if ((unsigned long)here >= from && (unsigned long)here < to) stack = !strncmp(rights, "rw", 2);
        if ((unsigned long)main >= from && (unsigned long)main < to) code = rights[2] == 'x';
    }
    say("maps: page %d, stack %d, code %d, sorted %d", found, stack, code, sorted);

    int fd = open("file", O_CREAT | O_RDWR, 0644), other = dup2(fd, 77), entries = 0, mine = 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    size = readlink(path, link, sizeof link - 1);
    link[size > 0 ? size : 0] = 0;
    say("fd leads to: %s", strrchr(link, '/') ? strrchr(link, '/') : "nothing");
    int ends[2];
    pipe(ends);
    snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
    size = readlink(path, link, sizeof link - 1);
    say("a pipe's: %.6s", size > 0 ? link : "none");
    DIR *dir = opendir("/proc/self/fd");
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (*entry->d_name != '.')
            mine += atoi(entry->d_name) == fd || atoi(entry->d_name) == other, entries++;
    yes("both are listed", mine == 2 && entries >= 5);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    write(fd, "through proc", 12);
    int reopened = open(path, O_RDONLY);
    tell("opened again, from its start", read(reopened, link, 64));
    snprintf(path, sizeof path, "/proc/%d/comm", getpid());
    tell("by pid", access(path, R_OK));
    tell("of nobody", access("/proc/99999999/comm", R_OK));
    size = readlink("/proc/self/cwd", link, sizeof link - 1);
    link[size > 0 ? size : 0] = 0;
    char cwd[4096];
    yes("cwd", getcwd(cwd, sizeof cwd) && !strcmp(cwd, link));
    /* As programs that set their title assume: one text after the other, also in what is read here. */
    char *next = argv[0];
    int ordered = 1;
    for (int i = 0; i < argc; i++) ordered &= argv[i] == next, next += strlen(next) + 1;
    char *end = next;
    for (char **one = variables; *one; one++) ordered &= *one == next, next += strlen(next) + 1;
    yes("arguments and environment are one text", ordered && next > end);
    memset(argv[0], 'a', end - argv[0] - 1);
    slurp("/proc/self/cmdline");
    yes("cmdline is what the memory has", strlen(text) == end - argv[0] - 1 && strspn(text, "a") == strlen(text));
    memset(argv[0], 'b', end - argv[0] + 1);
    slurp("/proc/self/cmdline");
    yes("a title may go on behind it", strspn(text, "b") == end - argv[0] + 1 && strlen(text) > end - argv[0]);
    struct timespec up;
    clock_gettime(CLOCK_MONOTONIC, &up);
    yes("the machine was started before", up.tv_sec > 0);

    pid_t child = forked();
    if (!child) {
        slurp("/proc/self/status");
        _exit(field("\nPid:\t") == getpid() && field("\nPPid:\t") == getppid() ? 0 : 1);
    }
    reap("a child has its own", child);
    return 0;
}
