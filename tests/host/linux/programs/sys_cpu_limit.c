/* RLIMIT_CPU: SIGXCPU each second from the soft limit on, SIGKILL at the hard one. Children inherit it. */
#include "say.h"
#include <sys/resource.h>

static volatile int times;
static void count(int signal) { times++; }
static void limit(int soft, int hard) {
    struct rlimit wanted = {soft, hard};
    tell("limit", setrlimit(RLIMIT_CPU, &wanted));
}
static void say_limits(const char *what) {
    struct rlimit found;
    getrlimit(RLIMIT_CPU, &found);
    say("%s: %d and %d s", what, (int)found.rlim_cur, (int)found.rlim_max);
}
static void ended_without_core(const char *what, pid_t child) {
    int status;
    waitpid(child, &status, 0);
    ended(what, status & ~0x80);
}

int main(void) {
    pid_t child = forked();
    if (!child) {
        limit(1, 3);
        pid_t grandchild = forked();
        if (!grandchild) {
            say_limits("inherited");
            for (;;) {
            }
        }
        ended_without_core("soft limit of a parent", grandchild);
        sleep(2); /* uses no processor time */
        signal(SIGXCPU, count);
        while (times < 2) {
        }
        say_limits("now");
        for (;;) {
        }
    }
    ended_without_core("hard limit", child);
    return 0;
}
