/* Priorities for input and output: kept, inherited, checked. */
#include "say.h"
#include <sys/syscall.h>

#define PRIORITY(class, level) ((class) << 13 | (level))
enum { PROCESS = 1, GROUP, USER };
enum { NONE, REAL_TIME, BEST_EFFORT, IDLE };

static long set(int which, int who, int priority) { return syscall(SYS_ioprio_set, which, who, priority); }
static long get(int which, int who) { return syscall(SYS_ioprio_get, which, who); }

int main(void) {
    tell("set", set(PROCESS, 0, PRIORITY(BEST_EFFORT, 6)));
    say("get: %#lx", get(PROCESS, 0));
    tell("by its number", set(PROCESS, getpid(), PRIORITY(IDLE, 0)));
    say("get: %#lx", get(PROCESS, getpid()));
    pid_t child = fork();
    if (!child) {
        say("inherited: %#lx", get(PROCESS, 0));
        tell("own", set(PROCESS, 0, PRIORITY(BEST_EFFORT, 2)));
        _exit(0);
    }
    waitpid(child, NULL, 0);
    say("unchanged: %#lx", get(PROCESS, 0));
    tell("no class with a level", set(PROCESS, 0, PRIORITY(NONE, 1)));
    tell("unknown class", set(PROCESS, 0, PRIORITY(4, 0)));
    tell("unknown kind", set(4, 0, PRIORITY(BEST_EFFORT, 0)));
    tell("unknown kind, get", get(0, 0));
    tell("nobody", set(PROCESS, 99999999, PRIORITY(BEST_EFFORT, 0)));
    tell("nobody, get", get(PROCESS, 99999999));
    tell("no group", get(GROUP, 99999999));
    tell("no class", set(PROCESS, 0, 0));
    return 0;
}
