/* posix_spawn tells what went wrong in the child, through the memory that both share. */
#include "say.h"
#include <spawn.h>

extern char **environ;

int main(int argc, char **argv) {
    if (argc > 1) return 0;
    char *missing[AGAIN] = {"missing"};
    pid_t child = -1;
    code("no such program", posix_spawn(&child, "missing", 0, 0, missing, environ));
    tell("and no child", waitpid(-1, 0, 0));
    int fd = open("text", O_WRONLY | O_CREAT, 0644);
    close(fd);
    code("not executable", posix_spawn(&child, "./text", 0, 0, missing, environ));
    code("not in the path", posix_spawnp(&child, "surely-no-such-program", 0, 0, missing, environ));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 5, "no/such/file", O_RDONLY, 0);
    char *words[AGAIN] = {argv[0], "worker"};
    const char *path = again(argv[0], words, 0);
    code("an action that fails", posix_spawn(&child, path, &actions, 0, words, environ));
    tell("and no child", waitpid(-1, 0, 0));
    return 0;
}
