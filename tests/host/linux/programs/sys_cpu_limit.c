/* RLIMIT_CPU: SIGXCPU each second from the soft limit on, SIGKILL at the hard one. Children inherit it. */
#include "say.h"
#include <sys/resource.h>

static volatile int times;
static void count(int signal) { times++; }
static void limit(int soft, int hard) {
    struct rlimit wanted = {soft, hard};
    tell("limit", setrlimit(RLIMIT_CPU, &wanted));
}
static void ended_without_core(const char *what, pid_t child) {
    int status;
    waitpid(child, &status, 0);
    ended(what, status & ~0x80);
}

int main(void) {
    pid_t child = forked();
    if (!child) {
        limit(1, 9);
        for (;;) {
        }
    }
    ended_without_core("soft limit", child);
    child = forked();
    if (!child) {
        signal(SIGXCPU, count);
        limit(1, 3);
        while (times < 2) {
        }
        struct rlimit now;
        getrlimit(RLIMIT_CPU, &now);
        say("soft limit is %d now", (int)now.rlim_cur);
        pid_t grandchild = forked();
        if (!grandchild)
            for (;;) {
            }
        ended_without_core("grandchild", grandchild);
        for (;;) {
        }
    }
    ended_without_core("hard limit", child);
    limit(5, 9);
    sleep(7); /* uses no processor time */
    say("still here");
    return 0;
}
