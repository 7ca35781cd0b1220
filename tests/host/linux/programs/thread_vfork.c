/* A thread made with CLONE_VFORK: who made it goes on when the thread ends, not when the process does. */
#include "say.h"
#include <sched.h>
#include <sys/syscall.h>

static char stack[65536] __attribute__((aligned(16)));
static volatile int steps;

static int thread(void *unused) {
    for (int i = 0; i < 5; i++) steps++, sched_yield();
    syscall(SYS_exit, 0);
    return 0;
}

int main(void) {
#ifndef __GLIBC__
    say("skip: musl's clone makes no threads");
    return 0;
#endif
    int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_VFORK;
    told("clone", clone(thread, stack + sizeof stack, flags, 0));
    say("steps: %d", steps);
    return 0;
}
