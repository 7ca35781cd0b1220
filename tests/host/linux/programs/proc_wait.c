/* wait4, waitpid, waitid: whom they wait for, and what they tell. */
#include "say.h"
#include <sys/resource.h>

static pid_t child(int code) {
    pid_t pid = forked();
    if (!pid) _exit(code);
    return pid;
}

int main(void) {
    int status = 0, go[2];
    siginfo_t info;
    struct rusage usage;
    tell("no child", waitpid(-1, &status, 0));
    tell("no child, not waiting", waitpid(-1, &status, WNOHANG));
    tell("not a child", waitpid(1, &status, 0));
    tell("unknown option", waitpid(-1, &status, 0x1000));

    pipe(go);
    pid_t pid = forked();
    if (!pid) {
        char c;
        read(go[0], &c, 1);
        _exit(300);
    }
    status = 77;
    tell("still running", waitpid(pid, &status, WNOHANG));
    say("status untouched: %d", status);
    write(go[1], "x", 1);
    yes("wait4", wait4(pid, &status, 0, &usage) == pid);
    ended("exit keeps eight bits", status);
    yes("usage is sane", usage.ru_utime.tv_sec >= 0 && usage.ru_utime.tv_sec < 10);
    tell("reaped once", waitpid(pid, &status, 0));
    tell("a zombie no more", kill(pid, 0));

    pid = child(7);
    memset(&info, 0, sizeof info);
    tell("waitid, leaving it", waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
    say("%s, CLD_EXITED: %s, status %d, pid %s", signal_name(info.si_signo),
        info.si_code == CLD_EXITED ? "yes" : "no", info.si_status, info.si_pid == pid ? "right" : "wrong");
    tell("zombie has a pid", kill(pid, 0));
    tell("waitid", waitid(P_ALL, 0, &info, WEXITED));
    yes("the same", info.si_pid == pid && info.si_status == 7);
    tell("waitid without any", waitid(P_ALL, 0, &info, WEXITED));
    tell("waitid for nothing", waitid(P_ALL, 0, &info, 0));

    pid = forked();
    if (!pid) pause(), _exit(0);
    info.si_pid = 99;
    tell("waitid, not waiting", waitid(P_PID, pid, &info, WEXITED | WNOHANG));
    say("si_pid: %d", info.si_pid);
    kill(pid, SIGKILL);
    tell("waitid", waitid(P_PID, pid, &info, WEXITED));
    say("CLD_KILLED: %s, %s", info.si_code == CLD_KILLED ? "yes" : "no", signal_name(info.si_status));

    /* Groups: 0 is one's own. */
    pid_t other = forked();
    if (!other) {
        setpgid(0, 0);
        write(go[1], "x", 1);
        pause();
    }
    char c;
    read(go[0], &c, 1);
    pid_t mine = child(4);
    yes("of one's own group", waitpid(0, &status, 0) == mine);
    ended("that", status);
    tell("none is left there", waitpid(0, &status, WNOHANG));
    tell("of a group without children", waitpid(-getppid() - 100000, &status, 0));
    kill(other, SIGTERM);
    yes("of another group", waitpid(-other, &status, 0) == other);
    ended("that", status);
    mine = child(3);
    yes("waitid by group", waitid(P_PGID, getpgrp(), &info, WEXITED) == 0 && info.si_pid == mine);

    /* Two that ended: wait takes each once. */
    pid_t a = child(1), b = child(2);
    int sum = 0, found = 0;
    for (pid_t p; (p = wait(&status)) > 0;) found += p == a || p == b, sum += WEXITSTATUS(status);
    say("found: %d, sum: %d, then %s", found, sum, error_name(errno));
    yes("usage of children", getrusage(RUSAGE_CHILDREN, &usage) == 0);
    return 0;
}
