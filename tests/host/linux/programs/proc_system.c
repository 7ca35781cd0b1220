/* system() and popen(): both are a child with a shell. */
#include "say.h"

int main(void) {
    char line[64];
    if (access("/bin/sh", X_OK)) return say("skip: no /bin/sh"), 0;
    yes("there is a shell", system(0) != 0);
    ended("exit", system("exit 7"));
    ended("true", system("true"));
    ended("echo", system("echo hello from the shell"));
    ended("several", system("echo one; echo two; exit 2"));
    ended("unknown command", system("surely-no-such-command 2>/dev/null"));
    ended("killed", system("kill -TERM $$"));
    setenv("COLOUR", "green", 1);
    ended("environment", system("echo $COLOUR"));

    /* While it waits, system ignores SIGINT and SIGQUIT and blocks SIGCHLD; then all is as before. */
    struct sigaction action;
    sigset_t set;
    sigaction(SIGINT, 0, &action);
    sigprocmask(SIG_BLOCK, 0, &set);
    yes("SIGINT is as before", action.sa_handler == SIG_DFL);
    yes("SIGCHLD is not blocked", !sigismember(&set, SIGCHLD));
    tell("no child is left", waitpid(-1, 0, WNOHANG));

    FILE *in = popen("echo first; echo second; exit 3", "r");
    if (!in) return tell("popen", -1), 1;
    while (fgets(line, sizeof line, in)) say("from it: %s", strtok(line, "\n"));
    ended("pclose", pclose(in));
    FILE *out = popen("cat", "w");
    if (!out) return tell("popen", -1), 1;
    fputs("to the shell's cat\n", out);
    ended("pclose", pclose(out));

    /* Two at once: the second does not hold the first's end of the pipe open. */
    FILE *a = popen("cat", "w"), *b = popen("cat", "w");
    fputs("a\n", a);
    ended("first", pclose(a));
    fputs("b\n", b);
    ended("second", pclose(b));
    errno = 0;
    yes("popen with a wrong mode", popen("true", "x") != 0);
    say("%s", error_name(errno));
    return 0;
}
