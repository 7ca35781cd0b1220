/* A lock with priority inheritance is handed over by its owner: plain wakes and requeues leave it alone. */
#include "say.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>

static unsigned lock, other;
static volatile int has;

static long futex(unsigned *word, int operation, unsigned value, long more, unsigned *second, unsigned third) {
    return syscall(SYS_futex, word, operation, value, more, second, third);
}

static void *waiter(void *unused) {
    tell("second: lock", futex(&lock, FUTEX_LOCK_PI, 0, 0, 0, 0));
    has = 1;
    tell("second: unlock", futex(&lock, FUTEX_UNLOCK_PI, 0, 0, 0, 0));
    return 0;
}

int main(void) {
    pthread_t second;
    tell("lock", futex(&lock, FUTEX_LOCK_PI, 0, 0, 0, 0));
    pthread_create(&second, 0, waiter, 0);
    while (!(__atomic_load_n(&lock, __ATOMIC_SEQ_CST) & FUTEX_WAITERS)) sleep_ms(1);
    sleep_ms(10);
    tell("wake", futex(&lock, FUTEX_WAKE, 1, 0, 0, 0));
    tell("requeue", futex(&lock, FUTEX_REQUEUE, 0, 10, &other, 0));
    tell("wake the other word", futex(&other, FUTEX_WAKE, 10, 0, 0, 0));
    sleep_ms(10);
    yes("it still waits", !has);
    long result = futex(&lock, FUTEX_UNLOCK_PI, 0, 0, 0, 0);
    pthread_join(second, 0);
    tell("unlock", result);
    say("lock is %#x", lock);
    return 0;
}
