/* Modes: umask, chmod, and their special bits. Nothing here depends on who is root. */
#include "say.h"
#include <sys/stat.h>

static struct stat status;
static void mode(const char *what, const char *path) {
    say("%s: %o", what, stat(path, &status) ? 0 : status.st_mode & 07777);
}

int main(void) {
    umask(022);
    say("umask: %03o", umask(027));
    say("umask: %03o", umask(07777));
    say("it keeps: %03o", umask(022));
    int fd = open("file", O_CREAT | O_RDWR, 0666);
    mode("created with 666", "file");
    umask(077);
    mkdir("dir", 0777);
    mode("mkdir with 777", "dir");
    umask(0);
    close(open("open", O_CREAT | O_WRONLY, 0666));
    mode("without umask", "open");
    close(open("file", O_CREAT | O_WRONLY, 0600));
    mode("not created again", "file");
    umask(022);
    tell("chmod", chmod("file", 0751));
    mode("now", "file");
    tell("fchmod", fchmod(fd, 0640));
    mode("now", "file");
    tell("fchmodat", fchmodat(AT_FDCWD, "file", 0444, 0));
    mode("now", "file");
    tell("of nothing", chmod("none", 0644));
    tell("of no descriptor", fchmod(999, 0644));
    symlink("file", "link");
    tell("through a link", chmod("link", 0604));
    mode("now", "file");
    tell("sticky", chmod("dir", 01755));
    mode("now", "dir");
    tell("set user id", chmod("file", 04755));
    mode("now", "file");
    tell("more bits than there are", chmod("file", 0170000 | 0600));
    mode("now", "file");
    tell("a file without rights", open("closed", O_CREAT | O_RDWR, 0) >= 0 ? 0 : -1);
    mode("now", "closed");
    tell("access F_OK", access("closed", F_OK));
    tell("access with an unknown bit", access("file", 8));
    tell("nobody may execute it", access("file", X_OK));
    tell("faccessat with an unknown flag", faccessat(AT_FDCWD, "file", R_OK, 0x4000));
    chmod("file", 0755);
    tell("access X_OK", access("file", X_OK));
    tell("access of all", access("file", R_OK | W_OK | X_OK));
    tell("access of nothing", access("none", F_OK));
    /* One's own: always allowed. */
    tell("chown to oneself", chown("file", getuid(), getgid()));
    tell("chown of neither", chown("file", -1, -1));
    fstat(fd, &status);
    yes("it is mine", status.st_uid == geteuid());
    tell("lchown", lchown("link", -1, -1));
    tell("fchown of no descriptor", fchown(999, -1, -1));
    return 0;
}
