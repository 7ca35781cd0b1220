/* Go and Java leave checks for nil to the memory: the handler of SIGSEGV moves the program counter to code
 * that panics. Here that is a function that jumps out, and an instruction behind the one that faulted. */
#include "say.h"
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

extern long load(long *pointer);
extern char load_faults[], load_after[];
#if defined __riscv
__asm__(".text\n.globl load, load_faults, load_after\n.option push\n.option norvc\n"
        "load: mv a1, a0\nli a0, 111\nload_faults: ld a0, 0(a1)\nload_after: ret\n.option pop\n");
#else
__asm__(".text\n.globl load, load_faults, load_after\n"
        "load: mov $111, %eax\nload_faults: mov (%rdi), %rax\nload_after: ret\n");
#endif

static int panics, mode;
static jmp_buf recovered;

static void panic(long why) {
    say("panic: %s", why == 77 ? "its argument arrived" : "argument lost");
    panics++;
    longjmp(recovered, 1);
}

static void handler(int signal, siginfo_t *info, void *more) {
    ucontext_t *context = more;
    yes("stopped at the load", PC(context) == (long)load_faults);
    if (mode) {
        PC(context) = (long)panic;
        ARGUMENT0(context) = 77;
    } else
        PC(context) = (long)load_after;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    sigaction(SIGSEGV, &action, 0);
    long here = 42, *closed = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    tell("of a variable", load(&here));
    tell("of nil, skipped", load((long *)8));
    tell("of a closed page, skipped", load(closed));
    mode = 1;
    for (int i = 0; i < 2; i++) {
        if (!setjmp(recovered)) {
            load(i ? closed : 0);
            say("not reached");
        } else
            say("recovered %d", panics);
        /* The handler returned, so SIGSEGV is not blocked. */
        sigset_t mask;
        sigprocmask(SIG_BLOCK, 0, &mask);
        yes("blocked", sigismember(&mask, SIGSEGV));
    }
    return panics == 2 ? 0 : 1;
}
