/* What each signal does when nobody cares, and what abort does when somebody does. */
#include "say.h"
#include <sys/resource.h>

static void returns(int signal) { write(1, "SIGABRT is caught\n", 18); }

int main(void) {
    static const int signals[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGILL,    SIGTRAP, SIGABRT, SIGBUS,
                                  SIGFPE,  SIGKILL, SIGUSR1, SIGSEGV,   SIGUSR2, SIGPIPE, SIGALRM,
                                  SIGTERM, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGIO,   SIGSYS,
                                  SIGCHLD, SIGCONT, SIGURG,  SIGWINCH};
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    for (unsigned i = 0; i <= sizeof signals / sizeof *signals; i++) {
        int number = i < sizeof signals / sizeof *signals ? signals[i] : SIGRTMIN + 3;
        pid_t child = forked();
        if (!child) {
            signal(number, SIG_DFL);
            kill(getpid(), number);
            _exit(0);
        }
        int status = 0;
        waitpid(child, &status, 0);
        if (WIFSIGNALED(status) && WCOREDUMP(status)) say("a core");
        ended(signal_name(number), status);
    }
    pid_t child = forked();
    if (!child) {
        signal(SIGABRT, returns);
        abort();
    }
    reap("abort, caught", child);
    child = forked();
    if (!child) {
        sigset_t set;
        sigemptyset(&set), sigaddset(&set, SIGABRT);
        sigprocmask(SIG_BLOCK, &set, 0);
        signal(SIGABRT, SIG_IGN);
        abort();
    }
    reap("abort, ignored and blocked", child);
    int ready[2];
    char c;
    pipe(ready);
    child = forked();
    if (!child) {
        sigset_t set;
        sigfillset(&set);
        sigprocmask(SIG_BLOCK, &set, 0);
        write(ready[1], "x", 1);
        for (;;) pause();
    }
    read(ready[0], &c, 1);
    kill(child, SIGTERM);
    sleep_ms(3);
    tell("blocked SIGTERM", waitpid(child, 0, WNOHANG));
    kill(child, SIGKILL);
    reap("SIGKILL", child);
    return 0;
}
