/* rename and renameat2: over what is there, between folders, and what they refuse. */
#include "say.h"
#include <sys/stat.h>
#include <sys/syscall.h>

static void put(const char *path, const char *text) {
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);
    write(fd, text, strlen(text));
    close(fd);
}

static const char *get(const char *path) {
    static char text[64];
    int fd = open(path, O_RDONLY);
    if (fd < 0) return error_name(errno);
    ssize_t size = read(fd, text, 63);
    close(fd);
    if (size < 0) return error_name(errno);
    text[size] = 0;
    return text;
}

static long flags(const char *from, const char *to, unsigned flags) {
    return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
}

int main(void) {
    put("a", "A"), put("b", "B"), mkdir("dir", 0755), mkdir("empty", 0755), put("dir/x", "X");
    int fd = open("b", O_RDONLY);
    char c;
    tell("over a file", rename("a", "b"));
    say("b: %s", get("b"));
    say("a: %s", get("a"));
    tell("the old one is still open", pread(fd, &c, 1, 0));
    say("it has: %c", c);
    tell("of nothing", rename("a", "c"));
    tell("into a folder", rename("b", "dir/b"));
    say("dir/b: %s", get("dir/b"));
    tell("back", rename("dir/b", "b"));
    tell("a file over a folder", rename("b", "empty"));
    tell("a folder over a file", rename("empty", "b"));
    tell("over a full folder", rename("empty", "dir"));
    tell("over an empty one", rename("dir", "empty"));
    say("empty/x: %s", get("empty/x"));
    tell("into itself", rename("empty", "empty/deeper"));
    tell("into nothing", rename("b", "none/b"));
    tell("through a file", rename("b", "empty/x/b"));
    tell("onto itself", rename("b", "b"));
    link("b", "same");
    tell("onto another name of it", rename("b", "same"));
    say("both are there: %s %s", get("b"), get("same"));
    tell("of .", rename(".", "dot"));
    tell("of ..", rename("empty/..", "dot"));
    symlink("b", "soft");
    tell("of a link", rename("soft", "softer"));
    say("softer: %s", get("softer"));

    put("new", "N");
    tell("RENAME_NOREPLACE over a file", flags("new", "b", 1));
    say("b: %s", get("b"));
    tell("RENAME_NOREPLACE", flags("new", "newer", 1));
    say("newer: %s", get("newer"));
    tell("RENAME_EXCHANGE", flags("newer", "b", 2));
    say("newer: %s", get("newer"));
    say("b: %s", get("b"));
    tell("a file for a folder", flags("b", "empty", 2));
    say("empty: %s", get("empty"));
    say("b/x: %s", get("b/x"));
    tell("with nothing", flags("b", "none", 2));
    tell("both", flags("b", "empty", 3));
    tell("unknown flag", flags("b", "empty", 64));
    return 0;
}
