/* prctl, and what it tells of names, dumps, death signals and privileges. */
#include "say.h"
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static void *named(void *unused) {
    char name[17] = "";
    prctl(PR_SET_NAME, "thread's", 0, 0, 0);
    prctl(PR_GET_NAME, name, 0, 0, 0);
    say("thread: %s", name);
    return 0;
}

int main(void) {
    char name[17] = "";
    pthread_t thread;
    int signal = -1;
    prctl(PR_GET_NAME, name, 0, 0, 0);
    say("name: %s", name);
    tell("PR_SET_NAME", prctl(PR_SET_NAME, "a name that is too long", 0, 0, 0));
    prctl(PR_GET_NAME, name, 0, 0, 0);
    say("name: %s, %zu bytes", name, strlen(name));
    pthread_create(&thread, 0, named, 0);
    pthread_join(thread, 0);
    prctl(PR_GET_NAME, name, 0, 0, 0);
    say("mine: %s", name);
    pid_t child = forked();
    if (!child) {
        char mine[17] = "";
        prctl(PR_GET_NAME, mine, 0, 0, 0);
        _exit(strcmp(mine, name) != 0);
    }
    reap("a child has its parent's", child);
    tell("name nowhere", prctl(PR_SET_NAME, 8, 0, 0, 0));

    tell("PR_GET_PDEATHSIG", prctl(PR_GET_PDEATHSIG, &signal, 0, 0, 0));
    say("none: %d", signal);
    tell("PR_SET_PDEATHSIG", prctl(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0));
    prctl(PR_GET_PDEATHSIG, &signal, 0, 0, 0);
    say("it is: %s", signal_name(signal));
    tell("unknown signal", prctl(PR_SET_PDEATHSIG, 99, 0, 0, 0));
    child = forked();
    if (!child) {
        prctl(PR_GET_PDEATHSIG, &signal, 0, 0, 0);
        _exit(signal);
    }
    reap("a child has none", child);

    tell("PR_GET_DUMPABLE", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
    tell("PR_SET_DUMPABLE", prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
    tell("PR_GET_DUMPABLE", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
    tell("unknown value", prctl(PR_SET_DUMPABLE, 5, 0, 0, 0));
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    tell("PR_GET_NO_NEW_PRIVS", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    tell("PR_SET_NO_NEW_PRIVS", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    tell("PR_GET_NO_NEW_PRIVS", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    tell("never back", prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
    tell("PR_GET_KEEPCAPS", prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0));
    tell("PR_MCE_KILL_GET", prctl(PR_MCE_KILL_GET, 0, 0, 0, 0));
    tell("with arguments", prctl(PR_MCE_KILL_GET, 1, 0, 0, 0));
    tell("unknown", prctl(987654, 0, 0, 0, 0));
    return 0;
}
