/* The folder that a process is in. */
#include "say.h"
#include <dirent.h>
#include <sys/stat.h>

int main(void) {
    char start[4096], here[4096], small[2];
    yes("getcwd", getcwd(start, sizeof start) != 0);
    size_t root = !strcmp(start, "/") ? 0 : strlen(start);
    mkdir("a", 0755), mkdir("a/b", 0755), symlink("a/b", "link");
    close(open("file", O_CREAT | O_WRONLY, 0644));
    tell("chdir", chdir("a/b"));
    say("now: %s", getcwd(here, sizeof here) ? here + root : "?");
    tell("up", chdir("../.."));
    yes("at the start", getcwd(here, sizeof here) && !strcmp(here, start));
    tell("through a link", chdir("link"));
    say("now: %s", getcwd(here, sizeof here) ? here + root : "?");
    tell("to nothing", chdir("none"));
    tell("to a file", chdir("../../file"));
    say("still: %s", getcwd(here, sizeof here) ? here + root : "?");
    errno = 0;
    yes("too small", getcwd(small, sizeof small) == 0);
    say("%s", error_name(errno));
    char *made = getcwd(0, 0);
    say("allocated: %s", made + root);
    int fd = open("..", O_RDONLY | O_DIRECTORY);
    pid_t child = forked();
    if (!child) {
        chdir("/");
        _exit(getcwd(here, sizeof here) && !strcmp(here, "/") ? 0 : 1);
    }
    reap("child that goes to the root", child);
    say("still: %s", getcwd(here, sizeof here) ? here + root : "?");
    tell("fchdir", fchdir(fd));
    say("now: %s", getcwd(here, sizeof here) ? here + root : "?");
    int file = open("../file", O_RDONLY);
    tell("fchdir to a file", fchdir(file));
    tell("fchdir of no descriptor", fchdir(999));

    /* Paths below a descriptor. */
    tell("mkdirat", mkdirat(fd, "c", 0755));
    tell("openat", openat(fd, "c/new", O_CREAT | O_WRONLY, 0644) >= 0 ? 0 : -1);
    tell("of a file's descriptor", openat(file, "c/new", O_RDONLY));
    tell("of no descriptor", openat(999, "c/new", O_RDONLY));
    tell("absolute, of no descriptor", openat(999, "/", O_RDONLY) >= 0 ? 0 : -1);
    tell("faccessat", faccessat(fd, "c/new", R_OK, 0));

    /* A folder that is gone. */
    tell("chdir", chdir("c"));
    unlink("new");
    tell("rmdir", rmdir("../c"));
    errno = 0;
    yes("getcwd", getcwd(here, sizeof here) != 0);
    say("%s", error_name(errno));
    tell("a file there", open("x", O_CREAT | O_WRONLY, 0644));
    tell("up", chdir(".."));
    say("now: %s", getcwd(here, sizeof here) ? here + root : "?");
    return 0;
}
