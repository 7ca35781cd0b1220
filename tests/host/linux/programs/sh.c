/* The little that system() and popen() of these programs ask of /bin/sh, for roots that have no shell:
 * `sh -c "COMMAND; COMMAND"` with exit, echo, cat, kill -NAME $$, true and false. */
#include "say.h"

static int command(char *line) {
    char *words[16], *rest = 0;
    int count = 0;
    for (char *word = strtok_r(line, " ", &rest); word && count < 15; word = strtok_r(0, " ", &rest))
        words[count++] = word;
    words[count] = 0;
    if (!count || !strcmp(words[0], "true")) return 0;
    if (!strcmp(words[0], "false")) return 1;
    if (!strcmp(words[0], "exit")) _exit(count > 1 ? atoi(words[1]) : 0);
    if (!strcmp(words[0], "echo")) {
        char text[512] = "";
        for (int i = 1; i < count; i++) {
            const char *word = words[i];
            if (*word == '$') word = getenv(word + 1) ? getenv(word + 1) : "";
            strcat(strcat(text, i > 1 ? " " : ""), word);
        }
        say("%s", text);
        return 0;
    }
    if (!strcmp(words[0], "cat")) {
        char bytes[4096];
        for (ssize_t size; (size = read(0, bytes, sizeof bytes)) > 0;)
            if (write(1, bytes, size) != size) return 1;
        return 0;
    }
    if (!strcmp(words[0], "kill") && count == 3 && !strcmp(words[2], "$$")) {
        int signal = !strcmp(words[1], "-TERM") ? SIGTERM : !strcmp(words[1], "-KILL") ? SIGKILL : 0;
        return kill(getpid(), signal) ? 1 : 0;
    }
    return 127;
}

int main(int argc, char **argv) {
    int status = 0, at = 1;
    char *rest = 0;
    if (argc > at && !strcmp(argv[at], "-c")) at++;
    if (argc > at && !strcmp(argv[at], "--")) at++; /* newer versions of libc end the options */
    if (argc <= at) return 2;
    for (char *line = strtok_r(argv[at], ";", &rest); line; line = strtok_r(0, ";", &rest))
        status = command(line);
    return status;
}
