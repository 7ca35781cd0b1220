/* Read-write locks, barriers and spin locks between threads. */
#include "say.h"
#include <pthread.h>

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_spinlock_t spin;
static volatile long a, b, torn, counter;

static void *tries(void *how) {
    return (void *)(long)(how ? pthread_rwlock_trywrlock(&lock) : pthread_rwlock_tryrdlock(&lock));
}
static void *reads_and_unlocks(void *unused) {
    int error = pthread_rwlock_tryrdlock(&lock);
    if (!error) pthread_rwlock_unlock(&lock);
    return (void *)(long)error;
}
static long elsewhere(void *(*body)(void *), void *argument) {
    pthread_t thread;
    void *result;
    pthread_create(&thread, 0, body, argument);
    pthread_join(thread, &result);
    return (long)result;
}

static void *writes(void *unused) {
    for (int i = 0; i < 500; i++) {
        pthread_rwlock_wrlock(&lock);
        a = a + 1;
        b = b + 1;
        pthread_rwlock_unlock(&lock);
        if (i % 50 == 0) sched_yield();
    }
    return 0;
}

static void *reads(void *unused) {
    for (int i = 0; i < 500; i++) {
        pthread_rwlock_rdlock(&lock);
        if (a != b) torn++;
        pthread_rwlock_unlock(&lock);
    }
    return 0;
}

static void *phases(void *unused) {
    long serial = 0;
    for (int i = 0; i < 20; i++) {
        __sync_fetch_and_add(&counter, 1);
        serial += pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD;
        if (counter != 4 * (i + 1)) torn++;
        pthread_barrier_wait(&barrier);
    }
    return (void *)serial;
}

static void *spins(void *unused) {
    for (int i = 0; i < 200; i++) {
        pthread_spin_lock(&spin);
        counter = counter + 1;
        pthread_spin_unlock(&spin);
    }
    return 0;
}

int main(void) {
    pthread_t threads[4];
    void *result;
    pthread_rwlock_rdlock(&lock);
    code("read and read", elsewhere(reads_and_unlocks, 0));
    code("read and write", elsewhere(tries, (void *)1));
    pthread_rwlock_unlock(&lock);
    pthread_rwlock_wrlock(&lock);
    code("write and read", elsewhere(tries, 0));
    code("write and write", elsewhere(tries, (void *)1));
    pthread_rwlock_unlock(&lock);
    int64_t until = now_ns(CLOCK_REALTIME) + 8000000;
    struct timespec t = {until / 1000000000, until % 1000000000};
    pthread_rwlock_rdlock(&lock);
    code("timed", pthread_rwlock_timedwrlock(&lock, &t));
    pthread_rwlock_unlock(&lock);
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], 0, i < 2 ? writes : reads, 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], 0);
    say("written: %ld, torn: %ld", a, torn);

    pthread_barrier_init(&barrier, 0, 4);
    long serials = 0;
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], 0, phases, 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], &result), serials += (long)result;
    say("phases: %ld, out of step: %ld", serials, torn);
    counter = 0;
    pthread_spin_init(&spin, 0);
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], 0, spins, 0);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], 0);
    say("spun: %ld", counter);
    code("spin trylock", pthread_spin_trylock(&spin));
    code("spin trylock", pthread_spin_trylock(&spin));
    return 0;
}
