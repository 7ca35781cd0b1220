/* Orphaned groups, what wait tells of children that it does not wait for, and errors of setpgid. */
#include "say.h"

static void got(int signal) { say("got %s", signal_name(signal)); }

int main(void) {
    siginfo_t info;
    int status;
    tell("setpgid of a negative pid", setpgid(-5, 0));
    tell("setpgid to a negative group", setpgid(0, -1));
    tell("wait for INT_MIN", waitpid(INT32_MIN, 0, 0));
    tell("wait for no pidfd", waitid(3, 99, &info, WEXITED));

    pid_t child = forked();
    if (!child) _exit(0);
    waitid(P_PID, child, &info, WEXITED | WNOWAIT);
    tell("a stop of a dead child", waitid(P_PID, child, &info, WSTOPPED | WNOHANG));
    reap("child", child);

    /* In an orphaned group, stop signals of terminals do nothing, and SIGSTOP does. */
    child = forked();
    if (!child) {
        setsid();
        raise(SIGTSTP), raise(SIGTTIN), raise(SIGTTOU);
        say("goes on");
        raise(SIGSTOP);
        _exit(6);
    }
    waitpid(child, &status, WUNTRACED);
    ended("of its own session", status);
    kill(child, SIGCONT);
    reap("of its own session", child);

    /* A group that becomes orphaned while one of it is stopped gets SIGHUP and SIGCONT. */
    int ends[2];
    char byte;
    pipe(ends);
    child = forked();
    if (!child) {
        setpgid(0, 0);
        signal(SIGHUP, got);
        pid_t grandchild = forked();
        if (!grandchild) {
            close(ends[0]);
            raise(SIGSTOP);
            say("goes on");
            _exit(0);
        }
        waitpid(grandchild, &status, WUNTRACED);
        ended("grandchild", status);
        _exit(0);
    }
    close(ends[1]);
    waitpid(child, 0, 0);
    tell("after the last of its group", read(ends[0], &byte, 1));
    return 0;
}
