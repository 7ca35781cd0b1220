/* What clone sends when the child ends: another signal than SIGCHLD, or a number that is none. */
#include "say.h"
#include <sys/syscall.h>
#include <sys/wait.h>

static volatile int seen;
static void on_signal(int signal) { seen = signal; }

static void child_that_ends(const char *what, long signal) {
    int status = 0;
    seen = 0;
    pid_t child = syscall(SYS_clone, signal, 0L, 0L, 0L, 0L);
    if (!child) _exit(3);
    while (waitpid(child, &status, __WALL) == -1 && errno == EINTR) {}
    say("%s: exited %d, signal %d", what, WEXITSTATUS(status), seen);
}

int main(void) {
    signal(SIGUSR1, on_signal);
    child_that_ends("SIGUSR1", SIGUSR1);
    child_that_ends("none", 0);
    child_that_ends("100", 100);
    child_that_ends("255", 255);
    return 0;
}
