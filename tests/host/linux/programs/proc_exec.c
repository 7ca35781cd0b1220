/* What execve keeps: pid, folder, mask, pending and ignored signals, descriptors but for those to close;
 * and what it does not: handlers, memory, close-on-exec descriptors. */
#include "say.h"
#include <sys/mman.h>
#include <sys/stat.h>

extern char **environ;
static void handler(int signal) {}

static int second(int argc, char **argv) {
    say("argc: %d", argc);
    for (int i = 2; i < argc; i++) say("argv[%d]: '%s'", i, argv[i]);
    yes("argv ends", argv[argc] == 0);
    say("argv[0]: %s", argv[0]);
    int variables = 0;
    for (char **at = environ; *at; at++)
        if (strncmp(*at, "RUNNER=", 7)) say("environment: %s", *at), variables++;
    say("variables: %d", variables);
    yes("same pid", getpid() == atoi(argv[1] + 4));
    struct sigaction action;
    sigaction(SIGUSR1, 0, &action);
    yes("ignored stays ignored", action.sa_handler == SIG_IGN);
    sigaction(SIGUSR2, 0, &action);
    yes("caught is as before all", action.sa_handler == SIG_DFL);
    sigset_t set;
    sigprocmask(SIG_BLOCK, 0, &set);
    say("mask: %d %d", sigismember(&set, SIGHUP), sigismember(&set, SIGTERM));
    sigpending(&set);
    say("pending: %d %d", sigismember(&set, SIGHUP), sigismember(&set, SIGTERM));
    char c;
    tell("kept descriptor", read(40, &c, 1));
    say("reads on: %c", c);
    tell("closed descriptor", read(41, &c, 1));
    say("umask: %03o", umask(022));
    stack_t stack;
    sigaltstack(0, &stack);
    yes("no alternative stack", stack.ss_flags & SS_DISABLE);
    struct stat status;
    tell("folder is kept", stat("../inside", &status));
    return 12;
}

int main(int argc, char **argv) {
    if (argc > 1 && !strncmp(argv[1], "pid:", 4)) {
        return second(argc, argv);
    }
    char pid[24], path[512], here[200];
    static char stack[32768];
    mkdir("inside", 0755);
    int fd = open("data", O_RDWR | O_CREAT | O_TRUNC, 0644);
    write(fd, "abcdef", 6);
    lseek(fd, 2, SEEK_SET);
    dup2(fd, 40), dup3(fd, 41, O_CLOEXEC);
    signal(SIGUSR1, SIG_IGN), signal(SIGUSR2, handler);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, 0);
    umask(07);
    stack_t alternative = {.ss_sp = stack, .ss_size = sizeof stack};
    sigaltstack(&alternative, 0);
    /* argv[0] may be relative, and the folder changes. */
    const char *own = own_path(argv[0]);
    if (*own != '/' && getcwd(here, sizeof here))
        snprintf(path, sizeof path, "%s/%s", here, own);
    else
        snprintf(path, sizeof path, "%s", own);
    pid_t child = forked();
    if (!child) {
        raise(SIGHUP);
        snprintf(pid, sizeof pid, "pid:%d", getpid());
        char *words[AGAIN] = {"a name", pid, "", "two words", "\xc3\xa9"};
        char *variables[AGAIN] = {"FIRST=1", "EMPTY=", "strange"};
        words[1] = pid;
        const char *program = again(path, words, variables);
        chdir("inside");
        execve(program, words, variables);
        tell("execve", -1);
        _exit(1);
    }
    int status;
    waitpid(child, &status, 0);
    ended("child", status);
    return 0;
}
