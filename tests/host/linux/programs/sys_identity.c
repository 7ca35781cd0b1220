/* Who a process is: users, groups, sessions. */
#include "say.h"
#include <grp.h>
#include <sys/fsuid.h>

int main(void) {
    uid_t real, effective, saved;
    gid_t rgid, egid, sgid;
    tell("getresuid", getresuid(&real, &effective, &saved));
    yes("all the same", real == getuid() && effective == geteuid() && real == effective && saved == real);
    tell("getresgid", getresgid(&rgid, &egid, &sgid));
    yes("all the same", rgid == getgid() && egid == getegid() && rgid == egid && sgid == rgid);
    tell("setuid to oneself", setuid(getuid()));
    tell("setgid to oneself", setgid(getgid()));
    tell("setresuid of none", setresuid(-1, -1, -1));
    tell("setreuid of none", setreuid(-1, -1));
    int groups = getgroups(0, 0);
    gid_t list[256];
    yes("getgroups", groups >= 0 && groups <= 256 && getgroups(256, list) == groups);
    tell("getgroups, negative", getgroups(-1, list));
    yes("setfsuid tells the old one", setfsuid(-1) == (int)geteuid());

    yes("pid and parent", getpid() > 0 && getppid() != getpid());
    yes("getpgid", getpgid(0) == getpgrp() && getpgid(getpid()) == getpgrp());
    yes("getsid", getsid(0) > 0 && getsid(getpid()) == getsid(0));
    tell("getpgid of nobody", getpgid(99999999));
    tell("getsid of nobody", getsid(99999999));
    tell("setpgid of nobody", setpgid(99999999, 0));
    tell("setpgid, negative", setpgid(0, -1));
    pid_t child = forked();
    if (!child) {
        yes("child: my parent's session", getsid(0) == getsid(getppid()));
        yes("setsid", setsid() == getpid());
        yes("leads all", getsid(0) == getpid() && getpgrp() == getpid());
        tell("setsid again", setsid());
        tell("setpgid of a leader", setpgid(0, 0));
        tell("a terminal", open("/dev/tty", O_RDWR));
        _exit(0);
    }
    reap("child", child);
    child = forked();
    if (!child) {
        tell("setpgid", setpgid(0, 0));
        tell("setsid of a group's leader", setsid());
        pid_t grandchild = forked();
        if (!grandchild) {
            yes("grandchild: my parent's group", getpgrp() == getppid());
            tell("to a group that is not", setpgid(0, 99999999));
            _exit(0);
        }
        int status;
        waitpid(grandchild, &status, 0);
        _exit(WEXITSTATUS(status));
    }
    reap("child", child);

    /* A parent may move its child, until that has executed something. */
    int ends[2], ready[2];
    char c;
    pipe(ends);
    child = forked();
    if (!child) {
        read(ends[0], &c, 1);
        _exit(getpgrp() == getpid() ? 0 : 1);
    }
    tell("setpgid of a child", setpgid(child, child));
    write(ends[1], "x", 1);
    reap("child", child);
    pipe(ready);
    child = forked();
    if (!child) {
        setsid();
        write(ready[1], "x", 1);
        read(ends[0], &c, 1);
        _exit(0);
    }
    read(ready[0], &c, 1);
    tell("setpgid of a child in another session", setpgid(child, child));
    yes("getsid of it", getsid(child) == child);
    write(ends[1], "x", 1);
    reap("child", child);
    return 0;
}
