/* A program that puts its stderr into a file with dup2, as daemons do, and gets it back. */
#include "say.h"
#include <sys/stat.h>

int main(void) {
    int kept = dup(2);
    yes("dup of stderr", kept > 2);
    int log = open("log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    yes("open", log > 2);
    tell("dup2", dup2(log, 2));
    say("close on exec: %d, of the copy: %d", fcntl(log, F_GETFD), fcntl(2, F_GETFD));
    tell("close", close(log));
    fprintf(stderr, "first %d\n", 1);
    errno = ENOENT;
    perror("second");
    pid_t child = forked();
    if (!child) {
        fputs("from the child\n", stderr);
        _exit(0);
    }
    reap("child", child);
    fputs("third\n", stderr);
    struct stat status;
    fstat(2, &status);
    yes("a regular file", S_ISREG(status.st_mode));
    yes("no terminal", !isatty(2));
    tell("back", dup2(kept, 2));
    tell("dup2 onto itself", dup2(kept, kept) == kept ? 0 : -1);
    tell("dup2 of a closed descriptor", dup2(log, 2));
    tell("dup2 to -1", dup2(kept, -1));
    tell("dup3 onto itself", dup3(kept, kept, 0));
    tell("dup3 with flags", dup3(kept, 50, O_CLOEXEC));
    tell("its flags", fcntl(50, F_GETFD));
    char line[64];
    FILE *stream = fopen("log", "r");
    if (!stream) return tell("fopen", -1), 1;
    while (fgets(line, sizeof line, stream)) say("log: %s", strtok(line, "\n"));
    return 0;
}
