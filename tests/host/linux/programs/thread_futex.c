/* The futex call itself. */
#include "say.h"
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static int word, other;
static volatile int waiting, woken;

static long futex(int *at, int operation, int value, void *fourth, int *second, int third) {
    return syscall(SYS_futex, at, operation, value, fourth, second, third);
}

static void *waits(void *bits) {
    __sync_fetch_and_add(&waiting, 1);
    long result = bits ? futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, 0, 0, (int)(long)bits)
                       : futex(&word, FUTEX_WAIT_PRIVATE, 0, 0, 0, 0);
    __sync_fetch_and_add(&woken, 1);
    return (void *)result;
}

static pthread_t threads[6];
static void start(int count, void *bits) {
    waiting = woken = 0;
    for (int i = 0; i < count; i++) pthread_create(&threads[i], 0, waits, bits);
    while (waiting < count) sleep_ms(1);
    sleep_ms(10); /* until they wait in the kernel */
}

/* Woken ones take a moment until they say so. */
static void settle(const char *what, int expected) {
    for (int i = 0; i < 200 && woken < expected; i++) sleep_ms(1);
    sleep_ms(2);
    say("%s: woken %d", what, woken);
}

int main(void) {
    struct timespec none = {0, 1000000}, wrong = {0, -1};
    tell("another value", futex(&word, FUTEX_WAIT, 1, 0, 0, 0));
    tell("nobody wakes", futex(&word, FUTEX_WAIT, 0, &none, 0, 0));
    tell("wrong time", futex(&word, FUTEX_WAIT, 0, &wrong, 0, 0));
    tell("nobody waits", futex(&word, FUTEX_WAKE, 1, 0, 0, 0));
    tell("not aligned", futex((int *)((char *)&word + 1), FUTEX_WAKE, 1, 0, 0, 0));
    tell("nowhere", futex((int *)8, FUTEX_WAIT, 0, 0, 0, 0));
    tell("unknown operation", futex(&word, 99, 0, 0, 0, 0));
    tell("no bits", futex(&word, FUTEX_WAIT_BITSET, 0, 0, 0, 0));
    int64_t until = now_ns(CLOCK_MONOTONIC) + 8000000;
    struct timespec t = {until / 1000000000, until % 1000000000};
    tell("WAIT_BITSET until a time", futex(&word, FUTEX_WAIT_BITSET, 0, &t, 0, -1));
    yes("not before", now_ns(CLOCK_MONOTONIC) >= until);
    until = now_ns(CLOCK_REALTIME) + 5000000;
    t = (struct timespec){until / 1000000000, until % 1000000000};
    tell("by the wall clock", futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &t, 0, -1));

    start(3, 0);
    tell("wake one", futex(&word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0));
    settle("one", 1);
    tell("wake all", futex(&word, FUTEX_WAKE_PRIVATE, INT_MAX, 0, 0, 0));
    settle("all", 3);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], 0);

    start(2, (void *)0x4);
    tell("other bits", futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 5, 0, 0, 0x3));
    tell("these bits", futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 1, 0, 0, 0x6));
    tell("a plain wake has all bits", futex(&word, FUTEX_WAKE_PRIVATE, 5, 0, 0, 0));
    for (int i = 0; i < 2; i++) pthread_join(threads[i], 0);

    start(5, 0);
    tell("REQUEUE: wake 1, move 2", futex(&word, FUTEX_REQUEUE_PRIVATE, 1, (void *)2, &other, 0));
    settle("of five", 1);
    tell("moved ones", futex(&other, FUTEX_WAKE_PRIVATE, 9, 0, 0, 0));
    tell("others", futex(&word, FUTEX_WAKE_PRIVATE, 9, 0, 0, 0));
    for (int i = 0; i < 5; i++) pthread_join(threads[i], 0);
    start(3, 0);
    tell("CMP_REQUEUE, another value", futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)9, &other, 5));
    tell("CMP_REQUEUE: wake 1, move all", futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)9, &other, 0));
    tell("moved ones", futex(&other, FUTEX_WAKE_PRIVATE, 9, 0, 0, 0));
    for (int i = 0; i < 3; i++) pthread_join(threads[i], 0);

    start(2, 0);
    other = 10;
    tell("WAKE_OP adds 5, and wakes here only", futex(&other, FUTEX_WAKE_OP_PRIVATE, 9, (void *)9, &word,
                                                      FUTEX_OP(FUTEX_OP_SET, 0, FUTEX_OP_CMP_GT, 0)));
    tell("as the old value was 0", futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &other,
                                         FUTEX_OP(FUTEX_OP_ADD, 5, FUTEX_OP_CMP_EQ, 10)));
    say("added: %d", other);
    futex(&word, FUTEX_WAKE_PRIVATE, 9, 0, 0, 0);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], 0);

    /* Between processes, by shared memory. */
    int *shared = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = forked();
    if (!child) {
        sleep_ms(8);
        *(volatile int *)shared = 1;
        _exit(futex(shared, FUTEX_WAKE, 1, 0, 0, 0) <= 1 ? 0 : 1);
    }
    while (!*(volatile int *)shared) futex(shared, FUTEX_WAIT, 0, 0, 0, 0);
    say("woken by another process");
    reap("child", child);
    return 0;
}
