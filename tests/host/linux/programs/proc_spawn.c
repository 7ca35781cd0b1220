/* posix_spawn with its file actions and attributes. */
#include "say.h"
#include <spawn.h>

extern char **environ;

static int worker(char **argv) {
    char line[32] = "";
    sigset_t set;
    struct sigaction action;
    switch (*argv[1]) {
    case 'p': say("spawned: %s, %s", argv[2], getenv("COLOUR") ? getenv("COLOUR") : "no colour"); return 4;
    case 'a':
        say("stdin: %.*s", (int)read(0, line, 31), line);
        tell("30 is a copy", read(30, line, 1));
        tell("31 is closed", fcntl(31, F_GETFD));
        return 5;
    case 's':
        sigprocmask(SIG_BLOCK, 0, &set);
        sigaction(SIGUSR1, 0, &action);
        yes("mask is set", sigismember(&set, SIGHUP));
        yes("SIGUSR1 is default", action.sa_handler == SIG_DFL);
        yes("leads its group", getpgrp() == getpid());
        return 6;
    }
    return 1;
}

static void spawn(const char *what, char **argv, char **envp, posix_spawn_file_actions_t *actions,
                  posix_spawnattr_t *attributes, const char *argv0) {
    pid_t child = -1;
    const char *path = again(argv0, argv, envp);
    int error = posix_spawn(&child, path, actions, attributes, argv, envp ? envp : environ), status = 0;
    if (!error) waitpid(child, &status, 0); /* before a word here, as it has its say too */
    code(what, error);
    ended("it", status);
}

int main(int argc, char **argv) {
    if (argc > 1) return worker(argv);
    char *plain[AGAIN] = {argv[0], "plain", "an argument"}, *variables[AGAIN] = {"COLOUR=blue"};
    spawn("plain", plain, variables, 0, 0, argv[0]);

    int fd = open("input", O_RDWR | O_CREAT | O_TRUNC, 0644);
    write(fd, "content", 7);
    dup2(fd, 31);
    posix_spawn_file_actions_t actions;
    code("init", posix_spawn_file_actions_init(&actions));
    code("open", posix_spawn_file_actions_addopen(&actions, 0, "input", O_RDONLY, 0));
    code("dup2", posix_spawn_file_actions_adddup2(&actions, 0, 30));
    code("close", posix_spawn_file_actions_addclose(&actions, 31));
    char *acting[AGAIN] = {argv[0], "actions"};
    spawn("actions", acting, 0, &actions, 0, argv[0]);
    tell("the parent's are as they were", fcntl(31, F_GETFD));

    posix_spawnattr_t attributes;
    sigset_t set;
    posix_spawnattr_init(&attributes);
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    posix_spawnattr_setsigmask(&attributes, &set);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    posix_spawnattr_setsigdefault(&attributes, &set);
    signal(SIGUSR1, SIG_IGN);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    char *signals[AGAIN] = {argv[0], "signals"};
    spawn("attributes", signals, 0, 0, &attributes, argv[0]);
    tell("no child is left", waitpid(-1, 0, WNOHANG));
    return 0;
}
