/* What fork copies and what it shares. */
#include "say.h"
#include <sys/mman.h>
#include <sys/stat.h>

static int global = 1;

int main(void) {
    int *heap = malloc(sizeof *heap), local = 3;
    int *shared = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    *heap = 2, *shared = 4;
    int fd = open("file", O_RDWR | O_CREAT | O_TRUNC, 0644);
    write(fd, "0123456789", 10);
    lseek(fd, 2, SEEK_SET);
    pid_t me = getpid();
    umask(027);
    sigset_t set, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, 0);
    raise(SIGUSR1);

    pid_t child = forked();
    if (!child) {
        char c;
        yes("child's parent is me", getppid() == me);
        yes("child is another process", getpid() != me);
        yes("child's group is mine", getpgrp() == getpgid(me));
        say("child sees: %d %d %d %d", global, *heap, local, *shared);
        global = 10, *heap = 20, local = 30, *shared = 40;
        read(fd, &c, 1);
        say("child reads: %c", c);
        sigpending(&pending);
        yes("child has the parent's pending signal", sigismember(&pending, SIGUSR1));
        sigprocmask(SIG_BLOCK, 0, &set);
        yes("child has the parent's mask", sigismember(&set, SIGUSR1));
        say("child's umask: %03o", umask(0));
        fcntl(fd, F_SETFL, O_APPEND);
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        mkdir("child", 0755);
        chdir("child");
        _exit(5);
    }
    reap("child", child);
    say("parent sees: %d %d %d %d", global, *heap, local, *shared);
    char c;
    read(fd, &c, 1);
    say("parent reads: %c", c); /* behind what the child has read */
    yes("O_APPEND of the open file is shared", fcntl(fd, F_GETFL) & O_APPEND);
    say("close on exec of the descriptor is not: %d", fcntl(fd, F_GETFD));
    say("parent's umask: %03o", umask(022));
    yes("parent's folder is what it was", access("child", F_OK) == 0);

    /* A child's close is its own. */
    child = forked();
    if (!child) _exit(close(fd));
    reap("child that closes", child);
    tell("parent's descriptor", lseek(fd, 0, SEEK_END));

    /* atexit handlers and buffers are copied, _exit runs none. */
    int depth = 0;
    for (; depth < 5; depth++) {
        child = forked();
        if (child) break;
    }
    if (depth < 5) {
        int status;
        waitpid(child, &status, 0);
        if (depth) _exit(WEXITSTATUS(status) + 1);
        say("a chain of children counts: %d", WEXITSTATUS(status) + 1);
    } else
        _exit(0);

    int exits = 0;
    pid_t children[20];
    for (int i = 0; i < 20; i++)
        if (!(children[i] = forked())) _exit(i);
    for (int i = 0; i < 20; i++) {
        int status;
        waitpid(children[i], &status, 0);
        exits += WIFEXITED(status) && WEXITSTATUS(status) == i;
    }
    say("twenty at once: %d", exits);
    return 0;
}
