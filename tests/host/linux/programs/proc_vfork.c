/* vfork: the parent waits until its child has gone or executes something. */
#include "say.h"

static char **arguments;

int main(int argc, char **argv) {
    if (argc > 1) {
        sleep_ms(20);
        say("executed: %s", argv[1]);
        return 6;
    }
    volatile int child_ran = 0;
    int ends[2];
    pipe2(ends, O_CLOEXEC);
    pid_t me = getpid(), child = vfork();
    if (child == -1) return tell("vfork", -1), 1;
    if (!child) {
        sleep_ms(20); /* were the parent not waiting, it would be first */
        write(1, "child first\n", 12);
        _exit(getppid() == me ? 3 : 4);
    }
    say("parent second");
    reap("child", child);

    char *again_argv[AGAIN] = {argv[0], "worker"};
    const char *path = again(argv[0], again_argv, 0);
    child = vfork();
    if (!child) {
        execv(path, again_argv);
        _exit(7);
    }
    say("parent goes on once the child executes");
    reap("child", child);

    child = vfork();
    if (!child) {
        execv("no such program", again_argv);
        _exit(errno == ENOENT ? 8 : 9);
    }
    reap("child that cannot execute", child);

    /* Descriptors are the child's own. */
    child = vfork();
    if (!child) {
        close(ends[0]);
        _exit(0);
    }
    reap("child that closes", child);
    tell("parent's descriptor", fcntl(ends[0], F_GETFD));
    return 0;
}
