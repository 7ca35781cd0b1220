/* Who becomes the parent of a child whose parent has ended, and what a zombie still is. */
#include "say.h"
#include <sys/prctl.h>

int main(void) {
    int ends[2], hold[2], status;
    char c;
    pid_t found[2];
    /* As a subreaper this process gets its grandchildren, whatever runs as pid 1. */
    tell("PR_SET_CHILD_SUBREAPER", prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
    pipe(ends), pipe(hold);
    pid_t me = getpid(), child = forked();
    if (!child) {
        pid_t grandchild = forked();
        if (!grandchild) {
            pid_t parent = getppid();
            write(ends[1], &parent, sizeof parent);
            while (getppid() == parent) sleep_ms(1);
            parent = getppid();
            write(ends[1], &parent, sizeof parent);
            _exit(21);
        }
        read(hold[0], &c, 1); /* until the grandchild has seen its parent */
        _exit(20);
    }
    read(ends[0], &found[0], sizeof found[0]);
    write(hold[1], "x", 1);
    reap("child", child);
    read(ends[0], &found[1], sizeof found[1]);
    yes("parent was the child", found[0] == child);
    yes("then it is me", found[1] == me);
    pid_t pid = waitpid(-1, &status, 0);
    yes("so I wait for it", pid > 0 && pid != child);
    ended("grandchild", status);

    /* PR_SET_PDEATHSIG: to be told of the parent's end. */
    child = forked();
    if (!child) {
        pid_t parent = getpid();
        pid_t grandchild = forked();
        if (!grandchild) {
            prctl(PR_SET_PDEATHSIG, SIGUSR1);
            write(ends[1], "x", 1);
            for (;;) pause();
        }
        read(ends[0], &c, 1);
        write(ends[1], &grandchild, sizeof grandchild);
        _exit(0);
    }
    reap("child", child);
    read(ends[0], &pid, sizeof pid);
    reap("grandchild that is told", pid);

    /* A group whose leader is gone is still a group. */
    child = forked();
    if (!child) {
        setpgid(0, 0);
        pid_t grandchild = forked();
        if (!grandchild)
            for (;;) pause();
        write(ends[1], &grandchild, sizeof grandchild);
        _exit(0);
    }
    reap("leader", child);
    read(ends[0], &pid, sizeof pid);
    yes("group is kept", getpgid(pid) == child);
    tell("kill to the group", kill(-child, SIGTERM));
    reap("member", pid);
    tell("then it is none", kill(-child, 0));
    return 0;
}
