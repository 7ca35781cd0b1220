/* membarrier: what has to be registered, and what becomes of that. */
#include "say.h"
#include <sys/syscall.h>

static void barrier(const char *what, int command) { tell(what, syscall(SYS_membarrier, command, 0, 0)); }

int main(void) {
    barrier("global", 1);
    barrier("private, not registered", 8);
    barrier("register", 16);
    barrier("private", 8);
    pid_t child = forked();
    if (!child) {
        barrier("child's", 8);
        _exit(0);
    }
    reap("child", child);
    barrier("unknown", 1 << 20);
    return 0;
}
