/* inotify: what is told of a folder, of the files in it, and of what goes. */
#include "say.h"
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

static int watching;
static unsigned cookie;

static void show(const char *what) {
    static const struct { unsigned bit; const char *name; } NAMES[] = {
        {IN_ACCESS, "ACCESS"}, {IN_MODIFY, "MODIFY"}, {IN_ATTRIB, "ATTRIB"}, {IN_CLOSE_WRITE, "CLOSE_WRITE"},
        {IN_CLOSE_NOWRITE, "CLOSE_NOWRITE"}, {IN_OPEN, "OPEN"}, {IN_MOVED_FROM, "MOVED_FROM"},
        {IN_MOVED_TO, "MOVED_TO"}, {IN_CREATE, "CREATE"}, {IN_DELETE, "DELETE"}, {IN_DELETE_SELF, "DELETE_SELF"},
        {IN_MOVE_SELF, "MOVE_SELF"}, {IN_IGNORED, "IGNORED"}, {IN_ISDIR, "ISDIR"},
    };
    static char raw[65536] __attribute__((aligned(8)));
    ssize_t size = read(watching, raw, sizeof raw);
    say("%s:", what);
    if (size < 0) tell(" none", size);
    for (char *at = raw; at < raw + size;) {
        struct inotify_event *event = (void *)at;
        char line[512];
        int end = sprintf(line, "  %d", event->wd);
        for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
            if (event->mask & NAMES[i].bit) end += sprintf(line + end, " %s", NAMES[i].name);
        if (event->len) end += sprintf(line + end, " %s (%d)", event->name, event->len);
        if (event->mask & IN_MOVED_FROM) cookie = event->cookie;
        if (event->mask & IN_MOVED_TO && event->cookie) strcpy(line + end, event->cookie == cookie ? " from there" : " alone");
        say("%s", line);
        at += sizeof *event + event->len;
    }
}

int main(void) {
    char text[8];
    watching = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    yes("made", watching >= 0);
    mkdir("dir", 0755), mkdir("other", 0755);
    tell("nothing to watch for", inotify_add_watch(watching, "dir", 0));
    tell("not there", inotify_add_watch(watching, "none", IN_OPEN));
    tell("no inotify", inotify_add_watch(0, "dir", IN_OPEN));
    unsigned all = (IN_ALL_EVENTS & ~IN_ACCESS) | IN_EXCL_UNLINK;
    tell("the folder", inotify_add_watch(watching, "dir", all));
    tell("again", inotify_add_watch(watching, "dir", all));
    tell("again, as new", inotify_add_watch(watching, "dir", all | IN_MASK_CREATE));
    show("nothing yet");
    int fd = open("dir/file", O_CREAT | O_RDWR, 0644);
    show("created");
    write(fd, "x", 1), write(fd, "y", 1);
    show("written twice");
    ftruncate(fd, 1), fchmod(fd, 0600);
    show("changed");
    close(fd), close(open("dir/file", O_RDONLY));
    show("closed, opened to read");
    mkdir("dir/sub", 0755), symlink("file", "dir/link"), link("dir/file", "dir/a name of more than 16 bytes");
    show("other kinds");
    rename("dir/file", "dir/new"), rename("dir/new", "other/new"), rename("other/new", "dir/file");
    show("moved");
    rmdir("dir/sub"), unlink("dir/link"), unlink("dir/a name of more than 16 bytes");
    show("removed");

    tell("a file", inotify_add_watch(watching, "dir/file", IN_MODIFY | IN_DELETE_SELF | IN_MOVE_SELF | IN_ATTRIB));
    fd = open("dir/file", O_WRONLY);
    write(fd, "content", 7);
    show("both");
    rename("dir/file", "dir/moved"), unlink("dir/moved");
    show("removed, still open");
    close(fd);
    show("closed");
    tell("once", inotify_add_watch(watching, "other", IN_CREATE | IN_ONESHOT | IN_ONLYDIR));
    close(open("other/a", O_CREAT, 0600)), close(open("other/b", O_CREAT, 0600));
    show("once");
    tell("no folder", inotify_add_watch(watching, "other/a", IN_OPEN | IN_ONLYDIR));
    close(open("other/x", O_CREAT, 0600));
    tell("the one replaced", inotify_add_watch(watching, "other/b", IN_DELETE_SELF));
    rename("other/x", "other/b");
    show("replaced");

    pid_t child = forked();
    if (!child) mkdir("dir/of a child", 0700), _exit(0);
    struct pollfd polled = {watching, POLLIN};
    tell("poll", poll(&polled, 1, 5000));
    reap("child", child);
    int bytes = 0;
    tell("FIONREAD", ioctl(watching, FIONREAD, &bytes));
    say("%d bytes", bytes);
    tell("no room", read(watching, text, sizeof text));
    show("by a child");
    tell("inotify_rm_watch", inotify_rm_watch(watching, 1)), tell("again", inotify_rm_watch(watching, 1));
    mkdir("dir/more", 0700);
    show("no more");
    inotify_add_watch(watching, "dir/more", IN_DELETE_SELF), rmdir("dir/more");
    show("a folder itself");
    return 0;
}
