/* What /proc tells of the system: values differ, their form does not. */
#include "say.h"
#include <sys/utsname.h>

static char text[262144];
static int slurp(const char *path) {
    FILE *in = fopen(path, "r");
    if (!in) return tell(path, -1), 0;
    size_t size = fread(text, 1, sizeof text - 1, in);
    text[size] = 0;
    fclose(in);
    return size;
}

int main(void) {
    int processors = 0;
    yes("cpuinfo", slurp("/proc/cpuinfo") > 0);
    for (char *at = text; (at = strstr(at, "processor\t")); at++) processors++;
    yes("a row for each processor", processors >= 1 && processors >= sysconf(_SC_NPROCESSORS_ONLN));
    yes("meminfo", slurp("/proc/meminfo") > 0);
    long total = -1, free_ = -1;
    char *at = strstr(text, "MemTotal:");
    if (at) total = strtol(at + 9, &at, 10);
    yes("in kB", at && !strncmp(at, " kB\n", 4));
    if ((at = strstr(text, "MemFree:"))) free_ = strtol(at + 8, 0, 10);
    yes("some is free, not more than all", free_ > 0 && free_ <= total);
    yes("MemAvailable", strstr(text, "\nMemAvailable:") != 0);
    slurp("/proc/uptime");
    double up = -1, idle = -1;
    yes("uptime", sscanf(text, "%lf %lf", &up, &idle) == 2 && up >= 0 && idle >= 0);
    slurp("/proc/loadavg");
    double one, five, fifteen;
    int running, all, last;
    yes("loadavg", sscanf(text, "%lf %lf %lf %d/%d %d", &one, &five, &fifteen, &running, &all, &last) == 6);
    slurp("/proc/version");
    yes("version", !strncmp(text, "Linux version ", 14));
    slurp("/proc/stat");
    yes("stat", !strncmp(text, "cpu ", 4) && strstr(text, "\nbtime "));
    slurp("/proc/filesystems");
    yes("filesystems", strstr(text, "\tproc\n") != 0);
    yes("mounts", slurp("/proc/self/mounts") > 0 && strstr(text, " / "));
    struct utsname name;
    uname(&name);
    slurp("/proc/sys/kernel/osrelease");
    text[strcspn(text, "\n")] = 0;
    yes("osrelease is uname's", !strcmp(text, name.release));
    slurp("/proc/sys/kernel/pid_max");
    yes("pid_max", atoi(text) >= getpid());
    slurp("/proc/sys/kernel/random/boot_id");
    yes("boot_id", strlen(text) == 37 && text[8] == '-');
    tell("nothing may be made there", open("/proc/new", O_WRONLY | O_CREAT, 0644));
    tell("a number that is nobody", access("/proc/0", F_OK));
    return 0;
}
