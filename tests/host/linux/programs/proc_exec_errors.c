/* How execve fails: the process goes on as before. */
#include "say.h"
#include <sys/stat.h>

static void try(const char *what, const char *path) {
    char *argv[] = {"x", 0}, *envp[] = {0};
    execve(path, argv, envp);
    tell(what, -1);
}

int main(int argc, char **argv) {
    if (argc > 1) return say("started by execvp: %s", argv[1]), 0;
    char name[5000], *words[AGAIN] = {argv[0], "worker"};
    try("nothing there", "missing");
    try("empty path", "");
    mkdir("folder", 0755);
    try("a folder", "folder");
    try("through a file", "file/x");
    int fd = open("file", O_WRONLY | O_CREAT, 0644);
    try("not executable", "file");
    try("through a file", "file/x");
    fchmod(fd, 0755);
    close(fd);
    try("empty", "file");
    fd = open("file", O_WRONLY | O_TRUNC);
    write(fd,
          "\x7f"
          "ELF and then rubbish that is no program, whatever else it may be.................",
          80);
    close(fd);
    try("rubbish", "file");
    symlink("loop", "loop");
    try("a loop", "loop");
    memset(name, 'n', sizeof name), name[300] = 0;
    try("long name", name);
    name[300] = 'n', name[4999] = 0;
    try("long path", name);
    try("null path", 0);
    tell("bad argv", execve(own_path(argv[0]), (char **)8, 0));
    execvp("surely-no-such-program", words);
    tell("execvp", -1);
    /* All arguments together have their limit: a quarter of the stack's, here for one: 32 pages. */
    static char big[200000];
    memset(big, 'x', sizeof big - 1);
    char *many[AGAIN] = {argv[0], big};
    execve(own_path(argv[0]), many, (char *[]){0});
    tell("huge argument", -1);
    say("still here");
    const char *path = again(argv[0], words, 0);
    execvp(path, words);
    tell("execvp", -1);
    return 1;
}
