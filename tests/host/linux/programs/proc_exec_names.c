/* What a program is called after execve, by whatever way it was named, and files that are busy. */
#include "say.h"
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define EMPTY_PATH 0x1000

static void put(const char *name, const char *text) {
    int file = open(name, O_CREAT | O_TRUNC | O_WRONLY, 0755);
    if (write(file, text, strlen(text)) != (ssize_t)strlen(text)) _exit(97);
    close(file);
}

static void copy(const char *from, int to) {
    static char bytes[1 << 16];
    int file = open(from, O_RDONLY);
    for (ssize_t size; (size = read(file, bytes, sizeof bytes)) > 0;)
        if (write(to, bytes, size) != size) _exit(97);
    close(file);
}

static int show(int argc, char **argv) {
    char name[32] = "";
    int file = open("/proc/self/comm", O_RDONLY);
    read(file, name, sizeof name - 1);
    *strchr(name, '\n') = 0;
    say("  called %s, comm %s, %d arguments", (char *)getauxval(AT_EXECFN), name, argc);
    for (int i = 0; i < argc; i++) say("  argument %d: %.60s (%d)", i, argv[i], (int)strlen(argv[i]));
    return 4;
}

static char *const ENVIRONMENT[] = {"SHOW=1", 0};
static char *const ARGUMENTS[] = {"zero", "one", 0};

static void run(const char *path, char *const *arguments) {
    pid_t child = forked();
    if (!child) {
        execve(path, arguments, ENVIRONMENT);
        tell(path, -1);
        _exit(1);
    }
    reap(strlen(path) < 30 ? path : "long", child);
}

static void run_at(const char *what, int folder, const char *path, int flags) {
    pid_t child = forked();
    if (!child) {
        syscall(SYS_execveat, folder, path, ARGUMENTS, ENVIRONMENT, flags);
        tell(what, -1);
        _exit(1);
    }
    reap(what, child);
}

int main(int argc, char **argv) {
    if (getenv("SHOW")) return show(argc, argv);
    static char *const none[] = {0};
    char name[24], text[600];
    rename(argv[0], "program"); /* its name is in its output */

    run("./program", ARGUMENTS);
    run("././program", ARGUMENTS);
    run("./program", none);
    run("./program", 0);
    symlink("program", "link");
    run("./link", ARGUMENTS);

    put("script", "#! ./program \t two words \t\nrest");
    run("./script", ARGUMENTS);
    run("./script", none);
    for (int i = 0; i < 6; i++) {
        sprintf(name, "script%d", i);
        sprintf(text, i ? "#!./script%d\n" : "#!./program\n", i - 1);
        put(name, text);
    }
    run("./script4", ARGUMENTS);
    run("./script5", ARGUMENTS);
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    memcpy(text, "#!./program ", 12);
    put("long", text);
    run("./long", ARGUMENTS);
    memcpy(text, "#!./programs", 12);
    put("long", text);
    run("./long", ARGUMENTS);
    put("short", "#!");
    run("./short", ARGUMENTS);

    int own = open("program", O_RDONLY), here = open(".", O_RDONLY);
    say("own %d, here %d", own, here);
    run_at("by descriptor", own, "", EMPTY_PATH);
    run_at("without the flag", own, "", 0);
    run_at("from a folder", here, "program", 0);
    run_at("a folder", here, "", EMPTY_PATH);
    run_at("a closed one", 99, "", EMPTY_PATH);
    run_at("not its link", here, "link", AT_SYMLINK_NOFOLLOW);
    int script = open("script", O_RDONLY);
    run_at("a script", script, "", EMPTY_PATH);
    fcntl(script, F_SETFD, FD_CLOEXEC);
    run_at("a script that is closed", script, "", EMPTY_PATH);
    int memory = memfd_create("in memory", 0);
    fchmod(memory, 0755);
    copy("program", memory);
    run_at("in memory and open for writing", memory, "", EMPTY_PATH);

    int busy = open("copy", O_CREAT | O_WRONLY, 0755);
    copy("program", busy);
    run("./copy", ARGUMENTS);
    close(busy);
    run("./copy", ARGUMENTS);
    tell("write to the running one", open("program", O_WRONLY));
    tell("truncate it by open", open("program", O_RDONLY | O_TRUNC));
    tell("truncate it", truncate("program", 0));
    tell("remove it", unlink("program"));
    return 0;
}
