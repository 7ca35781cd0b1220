/* kill to groups: to one's own with 0, to another with its negative id. */
#include "say.h"

static volatile int got;
static void handler(int signal) { got++; }

int main(void) {
    int ready[2];
    char c;
    pid_t members[3], outsider;
    pipe(ready);
    setpgid(0, 0);
    signal(SIGUSR1, handler);
    for (int i = 0; i < 4; i++) {
        pid_t child = forked();
        if (!child) {
            sigset_t set, old;
            signal(SIGUSR1, SIG_DFL);
            if (i == 3)
                setpgid(0, 0);
            else if (i)
                setpgid(0, members[0]);
            else
                setpgid(0, 0);
            write(ready[1], "x", 1);
            for (;;) pause();
        }
        if (i == 3)
            outsider = child;
        else
            members[i] = child;
        read(ready[0], &c, 1);
    }
    yes("first leads", getpgid(members[0]) == members[0]);
    yes("second follows", getpgid(members[1]) == members[0]);
    tell("kill of the group", kill(-members[0], SIGUSR1));
    for (int i = 0; i < 3; i++) reap("member", members[i]);
    say("I got: %d", got);
    tell("the outsider lives", waitpid(outsider, 0, WNOHANG));
    tell("its group", kill(-outsider, 0));
    tell("no such group", kill(-members[0], SIGUSR1));

    /* 0 is all of one's own, oneself too. */
    pid_t child = forked();
    if (!child) {
        signal(SIGUSR1, SIG_DFL);
        write(ready[1], "x", 1);
        for (;;) pause();
    }
    read(ready[0], &c, 1);
    tell("kill of my own", kill(0, SIGUSR1));
    reap("my child", child);
    say("I got: %d", got);
    tell("killpg", killpg(outsider, SIGTERM));
    reap("outsider", outsider);
    return 0;
}
