/* The system: uname, sysinfo, schedulers, priorities, random numbers, the machine. */
#include "say.h"
#include <sched.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

int main(void) {
    struct utsname name;
    tell("uname", uname(&name));
    say("system: %s", name.sysname);
    yes("release is a version", name.release[0] >= '3' && strchr(name.release, '.'));
#if defined __riscv
    say("machine is what it was built for: %s", !strcmp(name.machine, "riscv64") ? "yes" : name.machine);
#else
    say("machine is what it was built for: %s", !strcmp(name.machine, "x86_64") ? "yes" : name.machine);
#endif
    char host[256];
    yes("gethostname", !gethostname(host, sizeof host) && !strcmp(host, name.nodename));
    struct sysinfo info;
    tell("sysinfo", sysinfo(&info));
    yes("memory", info.totalram > 0 && info.freeram <= info.totalram && info.mem_unit > 0);
    yes("processes", info.procs > 0 && info.uptime >= 0);
    yes("processors",
        sysconf(_SC_NPROCESSORS_ONLN) > 0 && sysconf(_SC_NPROCESSORS_CONF) >= sysconf(_SC_NPROCESSORS_ONLN));
    yes("pages", sysconf(_SC_PHYS_PAGES) > 0 && sysconf(_SC_AVPHYS_PAGES) >= 0);
    say("page: %ld, auxv: %lu", sysconf(_SC_PAGESIZE), getauxval(AT_PAGESZ));
    yes("auxv",
        getauxval(AT_PHDR) && getauxval(AT_ENTRY) && getauxval(AT_RANDOM) && getauxval(AT_UID) == getuid());
    yes("auxv tells the program's name",
        getauxval(AT_EXECFN) && strstr((char *)getauxval(AT_EXECFN), "sys_info"));

    cpu_set_t set, one;
    tell("sched_getaffinity", sched_getaffinity(0, sizeof set, &set));
    yes("some processor", CPU_COUNT(&set) > 0);
    tell("sched_setaffinity", sched_setaffinity(0, sizeof set, &set));
    CPU_ZERO(&one);
    tell("of none", sched_setaffinity(0, sizeof one, &one));
    tell("of nobody", sched_getaffinity(99999999, sizeof set, &set));
    yes("sched_getcpu", sched_getcpu() >= 0);
    tell("sched_yield", sched_yield());
    say("priorities: %d %d, %d %d", sched_get_priority_min(SCHED_OTHER), sched_get_priority_max(SCHED_OTHER),
        sched_get_priority_min(SCHED_FIFO), sched_get_priority_max(SCHED_RR));
    tell("unknown policy", sched_get_priority_max(77));

    int start = getpriority(PRIO_PROCESS, 0); /* whatever it was started with; lower than 19 - 4, for this */
    tell("setpriority", setpriority(PRIO_PROCESS, 0, start + 2));
    say("nicer by: %d", getpriority(PRIO_PROCESS, 0) - start);
    pid_t child = forked();
    if (!child) _exit(getpriority(PRIO_PROCESS, 0) - start);
    reap("child", child);
    say("nice(2): by %d", nice(2) - start);
    tell("more than there is", setpriority(PRIO_PROCESS, 0, 100));
    say("nicest: %d", getpriority(PRIO_PROCESS, 0));
    tell("of nobody", getpriority(PRIO_PROCESS, 99999999));
    tell("of what", getpriority(77, 0));

    char a[300], b[300];
    tell("getrandom", getrandom(a, 256, 0));
    getrandom(b, 256, GRND_NONBLOCK);
    yes("never the same", memcmp(a, b, 256));
    tell("of nothing", getrandom(a, 0, 0));
    tell("GRND_RANDOM", getrandom(a, 16, GRND_RANDOM));
    tell("unknown flag", getrandom(a, 16, 0x80));
    tell("nowhere", getrandom((void *)8, 16, 0));
    tell("getentropy", getentropy(a, 256));
    tell("too much", getentropy(a, 257));
    return 0;
}
