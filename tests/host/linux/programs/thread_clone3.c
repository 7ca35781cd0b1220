/* A thread by clone3 alone: its stack, its ids, and that the kernel clears and wakes when it ends. */
#include "say.h"
#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

struct clone3_args {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size,
        cgroup;
};

/* The child comes back on an empty stack, so it calls `body` and ends here. */
extern long start(struct clone3_args *arguments, size_t size, void (*body)(void));
#if defined __riscv
__asm__(".text\n.globl start\nstart: li a7, 435\necall\nbnez a0, 1f\njalr a2\n"
        "li a0, 0\nli a7, 93\necall\n1: ret\n");
#else
__asm__(".text\n.globl start\nstart: mov $435, %eax\nsyscall\ntest %rax, %rax\njnz 1f\ncall *%rdx\n"
        "mov $60, %eax\nxor %edi, %edi\nsyscall\n1: ret\n");
#endif

static char stack[65536] __attribute__((aligned(16)));
static volatile int ran, on_stack, tid, done;
static int ids[2];

/* It has its maker's thread storage, so it may call nothing that sets errno. */
static void body(void) {
    char here;
    on_stack = (char *)&here >= stack && (char *)&here < stack + sizeof stack;
    tid = ids[0];
    ran++;
    __sync_synchronize();
}

int main(void) {
    struct clone3_args arguments = {.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND |
                                             CLONE_THREAD | CLONE_SYSVSEM | CLONE_PARENT_SETTID |
                                             CLONE_CHILD_CLEARTID,
                                    .parent_tid = (uint64_t)&ids[0],
                                    .child_tid = (uint64_t)&ids[1],
                                    .stack = (uint64_t)stack,
                                    .stack_size = sizeof stack};
    for (int i = 1; i <= 3; i++) {
        ids[1] = 1;
        long id = start(&arguments, sizeof arguments, body);
        if (id < 0) return errno = -id, tell("clone3", -1), 1;
        while (*(volatile int *)&ids[1]) syscall(SYS_futex, &ids[1], FUTEX_WAIT, 1, 0, 0, 0);
        say("ran: %d, on its stack: %d, its id was told: %s", ran, on_stack,
            tid == id && id != getpid() ? "yes" : "no");
    }
    arguments.exit_signal = SIGCHLD;
    yes("a thread ends without a signal", start(&arguments, sizeof arguments, body) == -EINVAL);
    arguments.exit_signal = 0, arguments.flags &= ~(uint64_t)CLONE_SIGHAND;
    yes("a thread shares the handlers", start(&arguments, sizeof arguments, body) == -EINVAL);
    arguments.flags = CLONE_VM | CLONE_SIGHAND | 0x100000000ull;
    yes("shared handlers are not cleared", start(&arguments, sizeof arguments, body) == -EINVAL);
    return 0;
}
