/* Threads and processes by the calls beneath the libraries: clone, clone3, set_tid_address, and ids. */
#include "say.h"
#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static char stack[65536] __attribute__((aligned(16)));
static volatile int shared, tids_differ;

static int as_process(void *argument) {
    shared = (int)(long)argument;
    return 9;
}

struct clone3_args {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size,
        cgroup;
};

int main(void) {
    int status;
    /* Without CLONE_VM: as fork. With it: memory is one. */
    pid_t child = clone(as_process, stack + sizeof stack, SIGCHLD, (void *)5);
    reap("clone as fork", child);
    say("shared: %d", shared);
    child = clone(as_process, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, (void *)6);
    reap("clone as vfork", child);
    say("shared: %d", shared);
    tell("CLONE_THREAD alone", syscall(SYS_clone, CLONE_THREAD, stack + sizeof stack, 0, 0, 0));
    tell("CLONE_SIGHAND alone", syscall(SYS_clone, CLONE_SIGHAND, stack + sizeof stack, 0, 0, 0));

    /* CLONE_FILES and CLONE_FS: the child's close and chdir are its parent's. */
    int fd = open(".", O_RDONLY);
    child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (!child) _exit(close(fd));
    waitpid(child, &status, 0);
    tell("copied descriptors", fcntl(fd, F_GETFD));
    child = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
    if (!child) _exit(close(fd));
    waitpid(child, &status, 0);
    tell("shared descriptors", fcntl(fd, F_GETFD));

    /* Another signal, or none, at its end: wait has to be asked for those. */
    child = syscall(SYS_clone, 0, 0, 0, 0, 0);
    if (!child) _exit(4);
    tell("no signal: waitpid", waitpid(child, &status, 0));
    yes("with __WCLONE", waitpid(child, &status, __WCLONE) == child);
    child = syscall(SYS_clone, 0, 0, 0, 0, 0);
    if (!child) _exit(4);
    yes("with __WALL", waitpid(child, &status, __WALL) == child);

    /* CLONE_PARENT_SETTID and CHILD_SETTID, CHILD_CLEARTID. */
    int *ids = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct clone3_args arguments = {.flags = CLONE_PARENT_SETTID | CLONE_CHILD_SETTID,
                                    .child_tid = (uint64_t)&ids[1],
                                    .parent_tid = (uint64_t)&ids[0],
                                    .exit_signal = SIGCHLD};
    child = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (!child) _exit(ids[1] == syscall(SYS_getpid) ? 3 : 4);
    if (child == -1)
        tell("clone3", -1);
    else {
        reap("clone3", child);
        yes("ids are told", ids[0] == child && ids[1] == child);
    }
    tell("clone3, too small", syscall(SYS_clone3, &arguments, 8));
    arguments.exit_signal = 200;
    tell("clone3, wrong signal", syscall(SYS_clone3, &arguments, sizeof arguments));
    arguments.exit_signal = SIGCHLD, arguments.stack = (uint64_t)stack;
    tell("clone3, a stack of no size", syscall(SYS_clone3, &arguments, sizeof arguments));
    yes("set_tid_address gives the id", syscall(SYS_set_tid_address, &ids[2]) == getpid());
    tell("set_robust_list, wrong size", syscall(SYS_set_robust_list, 0, 5));
    long rseq = syscall(SYS_rseq, 0, 0, 0, 0);
    yes("rseq without memory is refused", rseq == -1);
    return 0;
}
