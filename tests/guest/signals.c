/* Signals as on Linux: `signals NAME` tries one thing, and gives 0 when all of it is so. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition) \
    do { if (!(condition)) { printf("line %d: %s (errno %d)\n", __LINE__, #condition, errno); return 1; } } while (0)

#define FLOATING ".option push\n.option norvc\n.option arch, +d\n" /* the rest is built without */

static char other[64 << 10] __attribute__((aligned(16)));
static volatile int count, depth, deepest, outside;
static volatile int *volatile hole = (int *)0x1234000;
static sigjmp_buf back;

static void act(int number, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    sigaction(number, &action, 0);
}

static int use_other(void)
{
    stack_t stack = {.ss_sp = other, .ss_size = sizeof other};
    return sigaltstack(&stack, 0);
}

static int on_other(const void *address) { return (const char *)address >= other && (const char *)address < other + sizeof other; }

static void nest(int number, siginfo_t *info, void *context)
{
    char here;
    outside += !on_other(&here) || !on_other(info) || !on_other(context);
    if (++depth > deepest) deepest = depth;
    if (depth < 10) raise(number);
    count++;
    depth--;
}

static int nested(const char *unused) /* on the alternate stack, one frame below the other */
{
    stack_t small = {.ss_sp = other, .ss_size = 1024}, odd = {.ss_sp = other, .ss_flags = 5, .ss_size = 8192}, old;
    CHECK(sigaltstack(0, &old) == 0 && old.ss_flags == SS_DISABLE);
    CHECK(sigaltstack(&small, 0) == -1 && errno == ENOMEM && sigaltstack(&odd, 0) == -1 && errno == EINVAL);
    CHECK(use_other() == 0);
    act(SIGUSR1, nest, SA_ONSTACK | SA_NODEFER);
    raise(SIGUSR1);
    CHECK(count == 10 && deepest == 10 && depth == 0 && outside == 0);
    CHECK(sigaltstack(0, &old) == 0 && old.ss_flags == 0 && old.ss_sp == other);
    return 0;
}

static void plain(int number, siginfo_t *info, void *context)
{
    if (++depth > deepest) deepest = depth;
    if (++count < 1000) raise(number);
    depth--;
}

static int deferred(const char *unused) /* a handler's own signal waits until it has returned */
{
    act(SIGUSR1, plain, 0);
    raise(SIGUSR1);
    CHECK(count == 1000 && deepest == 1);
    return 0;
}

static int blocked(const char *unused)
{
    sigset_t set, old;
    sigfillset(&set);
    act(SIGUSR1, plain, SA_RESETHAND);
    CHECK(sigprocmask(SIG_BLOCK, &set, &old) == 0 && !sigismember(&old, SIGUSR1));
    CHECK(sigprocmask(SIG_BLOCK, 0, &old) == 0 && sigismember(&old, SIGUSR1) && !sigismember(&old, SIGKILL));
    count = 999;
    CHECK(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1) == 0 && count == 999);
    CHECK(sigprocmask(SIG_UNBLOCK, &set, 0) == 0 && count == 1000);
    struct sigaction action;
    CHECK(sigaction(SIGUSR1, 0, &action) == 0 && action.sa_handler == SIG_DFL);
    return 0;
}

static void skip(int number, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    count += info->si_addr == (void *)hole && info->si_code > 0 && u->uc_mcontext.__gregs[10] == 77;
    u->uc_mcontext.__gregs[0] += 4; /* pc: behind the instruction */
    u->uc_mcontext.__gregs[10] = 88;
    __asm__ volatile(FLOATING "fmv.d.x ft0, zero\nfscsr zero\n.option pop");
}

static int context(const char *unused) /* registers are those of the instruction, and are put back */
{
    long a0, f;
    act(SIGSEGV, skip, 0);
    __asm__ volatile(FLOATING "li a0, 77\nli t0, 5\nfscsr t0\nfmv.d.x ft0, t0\nsw zero, 0(%2)\nmv %0, a0\n"
            "fmv.x.d %1, ft0\n.option pop" : "=&r"(a0), "=&r"(f) : "r"(hole) : "a0", "t0", "ft0", "memory");
    CHECK(count == 1 && a0 == 88 && f == 5);
    __asm__ volatile(FLOATING "frcsr %0\n.option pop" : "=r"(f));
    CHECK(f == 5);
    return 0;
}

static void leave(int number, siginfo_t *info, void *unused) { siglongjmp(back, 1); }

static int leaves(const char *times) /* handlers that never return cost nothing */
{
    act(SIGUSR1, leave, 0);
    for (volatile int i = 0; i < atoi(times); i++)
        if (!sigsetjmp(back, 1)) raise(SIGUSR1);
    return 0;
}

static void *sleeper(void *unused)
{
    struct timespec long_time = {1000000, 0};
    return (void *)(long)(nanosleep(&long_time, 0) == -1 && errno == EINTR);
}

static int interrupts(const char *unused) /* a signal ends a wait of another thread, which handles it */
{
    pthread_t thread;
    void *result;
    act(SIGUSR2, plain, 0);
    count = 5000;
    CHECK(pthread_create(&thread, 0, sleeper, 0) == 0);
    for (int i = 0; i < 4; i++) sched_yield();
    CHECK(pthread_kill(thread, SIGUSR2) == 0 && pthread_join(thread, &result) == 0 && result == (void *)1);
    CHECK(count == 5001);
    return 0;
}

static void forever(int number, siginfo_t *info, void *unused) { raise(number); raise(number); }
static int endless(const char *unused) { act(SIGUSR1, forever, SA_NODEFER); return raise(SIGUSR1); }
static int endless_other(const char *unused)
{
    act(SIGUSR1, forever, SA_NODEFER | SA_ONSTACK);
    return use_other() || raise(SIGUSR1);
}

static int returns(const char *unused) /* from a signal that never came */
{
    __asm__ volatile("li sp, 0x1234000\nli a7, 139\necall");
    return 1;
}

static int word;
static void *waiter(void *times)
{
    struct timespec long_time = {1000000, 0};
    for (long i = 0; i < (long)times; i++) {
        word = 1;
        syscall(SYS_futex, &word, 0, 1, &long_time);
    }
    word = 2;
    return 0;
}

static int timers(const char *times) /* waits that end long before their time */
{
    pthread_t thread;
    CHECK(pthread_create(&thread, 0, waiter, (void *)atol(times)) == 0);
    while (word != 2) syscall(SYS_futex, &word, 1, 1), sched_yield();
    return pthread_join(thread, 0);
}

static int many(const char *unused) /* threads, until there are no more */
{
    static char stacks[1100][256] __attribute__((aligned(16)));
    long made = 0, flags = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000;
    for (; made < 1100; made++) {
        register long a0 __asm__("a0") = flags, a1 __asm__("a1") = (long)stacks[made + 1], a7 __asm__("a7") = 220;
        register long a2 __asm__("a2") = 0, a3 __asm__("a3") = 0, a4 __asm__("a4") = 0;
        /* the child waits for a futex for ever */
        __asm__ volatile("ecall\nbnez a0, 2f\n1: mv a0, %1\nli a1, 0\nli a2, 0\nli a3, 0\nli a7, 98\necall\nj 1b\n2:"
                         : "+r"(a0) : "r"(&word), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a7) : "memory");
        if (a0 < 0) break;
    }
    printf("%ld threads\n", made);
    fflush(stdout);
    _exit(0);
}

static int unknown(const char *times)
{
    for (long i = 0; i < atol(times); i++) CHECK(syscall(1000000 + i) == -1 && errno == ENOSYS);
    return 0;
}

static const struct { const char *name; int (*run)(const char *); } tests[] = {
    {"nested", nested}, {"deferred", deferred}, {"blocked", blocked}, {"context", context}, {"leaves", leaves},
    {"interrupts", interrupts}, {"endless", endless}, {"endless-other", endless_other}, {"returns", returns},
    {"timers", timers}, {"unknown", unknown}, {"many", many},
};

int main(int argc, char **argv)
{
    for (unsigned i = 0; i < sizeof tests / sizeof *tests; i++)
        if (argc > 1 && !strcmp(argv[1], tests[i].name)) return tests[i].run(argc > 2 ? argv[2] : "");
    return 2;
}
