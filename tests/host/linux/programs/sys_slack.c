/* Timer slack, other attributes that prctl tells, and numbers in /proc/sys. */
#include "say.h"
#include <sys/prctl.h>

static void get(const char *path, char *text) {
    int file = open(path, O_RDONLY);
    text[read(file, text, 63)] = 0;
    close(file);
}

int main(void) {
    char first[64], second[64];
    tell("slack", prctl(PR_GET_TIMERSLACK));
    tell("set", prctl(PR_SET_TIMERSLACK, 1));
    tell("slack", prctl(PR_GET_TIMERSLACK));
    pid_t child = forked();
    if (!child) {
        tell("child's slack", prctl(PR_GET_TIMERSLACK));
        prctl(PR_SET_TIMERSLACK, 5);
        prctl(PR_SET_TIMERSLACK, 0);
        tell("its usual one", prctl(PR_GET_TIMERSLACK));
        _exit(0);
    }
    reap("child", child);
    prctl(PR_SET_TIMERSLACK, 0);
    tell("the usual one", prctl(PR_GET_TIMERSLACK));
    tell("securebits", prctl(PR_GET_SECUREBITS));
    get("/proc/sys/kernel/random/uuid", first);
    get("/proc/sys/kernel/random/uuid", second);
    say("uuids of %d and %d bytes, same %d", (int)strlen(first), (int)strlen(second), !strcmp(first, second));
    say("version %c, variant %d", first[14], !!strchr("89ab", first[19]));
    get("/proc/sys/net/core/somaxconn", first);
    say("somaxconn %s", strtok(first, "\n"));
    return 0;
}
