/* Stopping and continuing children, as a shell with jobs sees it. */
#include "say.h"

static volatile int chld, stopped_code, continued_code;
static void on_child(int signal, siginfo_t *info, void *context) {
    chld++;
    stopped_code |= info->si_code == CLD_STOPPED;
    continued_code |= info->si_code == CLD_CONTINUED;
}

static volatile int conts;
static void on_cont(int signal) { conts++; }

int main(void) {
    int status, ready[2], go[2];
    siginfo_t info;
    char c;
    pipe(ready), pipe(go);
    struct sigaction action = {.sa_sigaction = on_child, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGCHLD, &action, 0);
    pid_t child = forked();
    if (!child) {
        signal(SIGCONT, on_cont);
        write(ready[1], "x", 1);
        while (!conts) sleep_ms(1);
        read(go[0], &c, 1); /* a stop would hide that it went on */
        raise(SIGSTOP);
        read(go[0], &c, 1);
        _exit(conts);
    }
    read(ready[0], &c, 1);
    kill(child, SIGSTOP);
    yes("stopped", waitpid(child, &status, WUNTRACED) == child);
    ended("child", status);
    yes("told by SIGCHLD", chld > 0 && stopped_code);
    tell("told once", waitpid(child, &status, WUNTRACED | WNOHANG));
    tell("not ended", waitpid(child, &status, WNOHANG));
    /* Signals wait while it is stopped, all but SIGKILL and SIGCONT. */
    kill(child, SIGCONT);
    yes("continued", waitpid(child, &status, WCONTINUED) == child);
    ended("child", status);
    for (int i = 0; i < 1000 && !continued_code; i++) sleep_ms(1); /* it tells that itself, when it runs */
    yes("told by SIGCHLD", continued_code);
    write(go[1], "x", 1);
    tell("waitid for a stop", waitid(P_PID, child, &info, WSTOPPED));
    say("CLD_STOPPED: %s, by %s", info.si_code == CLD_STOPPED ? "yes" : "no", signal_name(info.si_status));
    kill(child, SIGCONT);
    tell("waitid for going on", waitid(P_PID, child, &info, WCONTINUED));
    say("CLD_CONTINUED: %s, by %s", info.si_code == CLD_CONTINUED ? "yes" : "no",
        signal_name(info.si_status));
    write(go[1], "x", 1);
    yes("ended", waitpid(child, &status, WUNTRACED) == child);
    ended("child", status);

    /* SA_NOCLDSTOP: no word of stops. SIGTERM is acted on after SIGCONT, SIGKILL at once. */
    action.sa_flags |= SA_NOCLDSTOP;
    sigaction(SIGCHLD, &action, 0);
    chld = 0;
    child = forked();
    if (!child)
        for (;;) pause();
    kill(child, SIGSTOP);
    waitpid(child, &status, WUNTRACED);
    say("SIGCHLD of stopping: %d", chld);
    kill(child, SIGTERM);
    sleep_ms(5);
    tell("stopped ones do not end by SIGTERM", waitpid(child, &status, WNOHANG));
    kill(child, SIGCONT);
    reap("but when continued", child);
    yes("SIGCHLD of ending", chld > 0);
    child = forked();
    if (!child)
        for (;;) setpgid(0, 0), pause();
    setpgid(child, child); /* SIGTSTP stops nobody in a group that has no parent in its session */
    kill(child, SIGTSTP);
    waitpid(child, &status, WUNTRACED);
    ended("child", status);
    kill(child, SIGKILL);
    reap("SIGKILL ends stopped ones", child);
    return 0;
}
