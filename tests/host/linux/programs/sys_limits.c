/* Limits that are kept: descriptors, core, and what children have of them. */
#include "say.h"
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

int main(void) {
    struct rlimit limit, old;
    tell("getrlimit", getrlimit(RLIMIT_NOFILE, &old));
    yes("soft is not over hard", old.rlim_cur <= old.rlim_max);
    limit = (struct rlimit){20, old.rlim_max};
    tell("setrlimit", setrlimit(RLIMIT_NOFILE, &limit));
    int count = 0, last = -1, fd;
    while ((fd = open("/dev/null", O_RDONLY)) >= 0) count++, last = fd;
    tell("open", -1);
    yes("the last is 19", last == 19);
    int ends[2];
    tell("pipe", pipe(ends));
    tell("dup", dup(0));
    tell("dup2 over it", dup2(0, 20));
    tell("dup2 below it", dup2(0, 19));
    tell("F_DUPFD over it", fcntl(0, F_DUPFD, 20));
    tell("socket", socket(AF_UNIX, SOCK_STREAM, 0));
    close(19);
    tell("room for one, not for two", pipe(ends));
    tell("and the one is free again", dup(0));
    pid_t child = forked();
    if (!child) {
        getrlimit(RLIMIT_NOFILE, &limit);
        _exit(limit.rlim_cur);
    }
    reap("a child has it", child);
    limit.rlim_cur = old.rlim_max;
    tell("soft up to hard", setrlimit(RLIMIT_NOFILE, &limit));
    tell("dup", dup(0));
    limit = (struct rlimit){30, 25};
    tell("soft over hard", setrlimit(RLIMIT_NOFILE, &limit));
    tell("unknown limit", getrlimit(99, &limit));
    tell("prlimit of oneself", prlimit(0, RLIMIT_NOFILE, 0, &limit));
    tell("prlimit of nobody", prlimit(99999999, RLIMIT_NOFILE, 0, &limit));
    static const int limits[] = {RLIMIT_CPU,      RLIMIT_FSIZE, RLIMIT_DATA,   RLIMIT_STACK,
                                 RLIMIT_CORE,     RLIMIT_RSS,   RLIMIT_NPROC,  RLIMIT_NOFILE,
                                 RLIMIT_MEMLOCK,  RLIMIT_AS,    RLIMIT_LOCKS,  RLIMIT_SIGPENDING,
                                 RLIMIT_MSGQUEUE, RLIMIT_NICE,  RLIMIT_RTPRIO, RLIMIT_RTTIME};
    int known = 0;
    for (unsigned i = 0; i < sizeof limits / sizeof *limits; i++)
        known += !getrlimit(limits[i], &limit) && limit.rlim_cur <= limit.rlim_max;
    say("known: %d", known);
    getrlimit(RLIMIT_STACK, &limit);
    yes("the stack has one", limit.rlim_cur >= 1 << 20);

    /* RLIMIT_CPU: SIGXCPU after a second of work, which is long: only that it can be set. */
    limit = (struct rlimit){100, RLIM_INFINITY};
    getrlimit(RLIMIT_CPU, &old);
    limit.rlim_max = old.rlim_max;
    tell("RLIMIT_CPU", setrlimit(RLIMIT_CPU, &limit));
    yes("sysconf agrees", (getrlimit(RLIMIT_NOFILE, &limit), sysconf(_SC_OPEN_MAX) == (long)limit.rlim_cur));
    tell("close_range", syscall(SYS_close_range, 3, 18, 0));
    tell("they are closed", fcntl(10, F_GETFD));
    tell("this one is not", fcntl(19, F_GETFD));
    tell("close_range, the wrong way round", syscall(SYS_close_range, 9, 3, 0));
    return 0;
}
