/* Other users: what root may become, what it gives up by that, and what is known of it outside. */
#include "say.h"
#include <grp.h>
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static void users(const char *when) {
    uid_t a, b, c;
    gid_t x, y, z;
    getresuid(&a, &b, &c), getresgid(&x, &y, &z);
    say("%s: %d %d %d, %d %d %d", when, a, b, c, x, y, z);
}

static void capabilities(const char *when) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    tell("capget", syscall(SYS_capget, &header, data));
    say("%s: kill %d of %d", when, data[0].effective >> CAP_KILL & 1, data[0].permitted >> CAP_KILL & 1);
}

static void owner(const char *name) {
    struct stat info = {0};
    lstat(name, &info);
    say("%s: %d:%d", name, info.st_uid, info.st_gid);
}

static void in_child(const char *name, void (*test)(void)) {
    pid_t child = forked();
    if (!child) test(), fflush(stdout), _exit(0);
    reap(name, child);
}

static void for_good(void) {
    gid_t groups[3] = {7, 5, 6}, got[8];
    tell("setgroups", setgroups(3, groups));
    tell("number", getgroups(0, 0));
    tell("no room", getgroups(2, got));
    tell("all", getgroups(8, got));
    say("they are %d %d %d", got[0], got[1], got[2]);
    tell("setgid", setgid(100)), tell("setuid", setuid(1000));
    users("dropped"), capabilities("dropped");
    tell("back", setuid(0)), tell("seteuid", seteuid(0)), tell("setgid", setgid(0));
    tell("setgroups", setgroups(0, 0));
    tell("oneself", setuid(1000));
    tell("kill root", kill(getppid(), 0));
    close(open("theirs", O_CREAT | O_WRONLY, 0644));
    owner("theirs");
    tell("give it away", chown("theirs", 1001, -1));
    tell("to one of the groups", chown("theirs", -1, 6));
    tell("to another group", chown("theirs", -1, 8));
    owner("theirs");
    tell("setfsuid", setfsuid(0)), tell("is still", setfsuid(-1));
    tell("dumpable", prctl(PR_GET_DUMPABLE));
}

static void for_now(void) {
    tell("seteuid", seteuid(1000));
    users("for now"), capabilities("for now");
    tell("to another", seteuid(1001));
    tell("setresuid", setresuid(1001, -1, -1));
    tell("back", seteuid(0));
    users("back"), capabilities("back");
    tell("setreuid", setreuid(1, 2));
    users("two");
    tell("swap", setreuid(2, 1));
    users("swapped");
    tell("setresgid", setresgid(1, 2, 3));
}

static void keeping(void) {
    tell("PR_SET_KEEPCAPS", prctl(PR_SET_KEEPCAPS, 2));
    tell("PR_SET_KEEPCAPS", prctl(PR_SET_KEEPCAPS, 1));
    tell("PR_GET_KEEPCAPS", prctl(PR_GET_KEEPCAPS));
    tell("setresuid", setresuid(10, 11, 12));
    capabilities("kept");
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{1 << CAP_KILL, 1 << CAP_KILL, 0}};
    tell("capset", syscall(SYS_capset, &header, data));
    capabilities("made effective");
    tell("kill root", kill(getppid(), 0));
    data[0].permitted |= 1 << CAP_CHOWN;
    tell("more", syscall(SYS_capset, &header, data));
    header.version = 1;
    tell("a version", syscall(SYS_capget, &header, 0));
    say("%x", header.version);
    tell("no header", syscall(SYS_capget, 0, 0));
}

static void peers(void) {
    int ends[2];
    struct ucred who;
    socklen_t size = sizeof who;
    setegid(20), seteuid(10);
    socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
    getsockopt(ends[0], SOL_SOCKET, SO_PEERCRED, &who, &size);
    say("peer: %d %d", who.uid, who.gid);
}

int main(void) {
    if (geteuid()) return 77;
    chmod(".", 0777);
    in_child("for good", for_good);
    in_child("for now", for_now);
    in_child("keeping", keeping);
    in_child("peers", peers);
    close(open("file", O_CREAT | O_WRONLY, 0644)), symlink("file", "link");
    tell("chown", chown("file", 12, 34)), tell("lchown", lchown("link", 56, -1));
    owner("file"), owner("link");
    tell("setuid(-1)", setuid(-1)), tell("setgid(-1)", setgid(-1));
    users("at last");
    return 0;
}
