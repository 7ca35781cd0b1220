/* Mutexes of all kinds, and condition variables with deadlines. */
#include "say.h"
#include <pthread.h>

static pthread_mutex_t mutex;
static pthread_cond_t cond;
static volatile long counter;
static volatile int stage;

static void *adds(void *unused) {
    for (int i = 0; i < 3000; i++) {
        pthread_mutex_lock(&mutex);
        counter = counter + 1;
        pthread_mutex_unlock(&mutex);
    }
    return 0;
}

static void *tries(void *unused) { return (void *)(long)pthread_mutex_trylock(&mutex); }
static void *unlocks(void *unused) { return (void *)(long)pthread_mutex_unlock(&mutex); }
static void *elsewhere(void *(*body)(void *)) {
    pthread_t thread;
    void *result;
    pthread_create(&thread, 0, body, 0);
    pthread_join(thread, &result);
    return result;
}

static void make(int type, int protocol) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, type);
    code("protocol", pthread_mutexattr_setprotocol(&attributes, protocol));
    pthread_mutex_init(&mutex, &attributes);
}

static void contend(const char *what) {
    pthread_t threads[4];
    counter = 0;
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], 0, adds, 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], 0);
    say("%s: %ld", what, counter);
}

static struct timespec in_ms(clockid_t clock, int ms) {
    int64_t t = now_ns(clock) + ms * 1000000LL;
    return (struct timespec){t / 1000000000, t % 1000000000};
}

static void *waits(void *unused) {
    pthread_mutex_lock(&mutex);
    stage++;
    while (stage < 100) pthread_cond_wait(&cond, &mutex);
    stage++;
    pthread_mutex_unlock(&mutex);
    return 0;
}

int main(void) {
    make(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE);
    contend("plain");
    pthread_mutex_lock(&mutex);
    code("busy", (long)elsewhere(tries));
    struct timespec t = in_ms(CLOCK_REALTIME, 8);
    code("timed out", pthread_mutex_timedlock(&mutex, &t));
    yes("it waited", now_ns(CLOCK_REALTIME) >= t.tv_sec * 1000000000LL + t.tv_nsec);
    pthread_mutex_unlock(&mutex);

    make(PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_NONE);
    code("recursive", pthread_mutex_lock(&mutex) + pthread_mutex_lock(&mutex));
    pthread_mutex_unlock(&mutex);
    code("still held", (long)elsewhere(tries));
    code("by another", (long)elsewhere(unlocks));
    pthread_mutex_unlock(&mutex);
    code("free", pthread_mutex_trylock(&mutex));
    pthread_mutex_unlock(&mutex);

    make(PTHREAD_MUTEX_ERRORCHECK, PTHREAD_PRIO_NONE);
    pthread_mutex_lock(&mutex);
    code("again by its owner", pthread_mutex_lock(&mutex));
    code("unlocked by another", (long)elsewhere(unlocks));
    pthread_mutex_unlock(&mutex);
    code("unlocked twice", pthread_mutex_unlock(&mutex));

    make(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT);
    contend("PI");
    pthread_mutex_lock(&mutex);
    code("busy", (long)elsewhere(tries));
    pthread_mutex_unlock(&mutex);

    /* Condition variables. */
    pthread_mutex_init(&mutex, 0);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    code("monotonic", pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC));
    pthread_cond_init(&cond, &attributes);
    pthread_mutex_lock(&mutex);
    t = in_ms(CLOCK_MONOTONIC, 10);
    code("nobody signals", pthread_cond_timedwait(&cond, &mutex, &t));
    yes("it waited", now_ns(CLOCK_MONOTONIC) >= t.tv_sec * 1000000000LL + t.tv_nsec);
    code("the mutex is held", (long)elsewhere(tries));
    t = (struct timespec){0, 0};
    code("long ago", pthread_cond_timedwait(&cond, &mutex, &t));
    pthread_mutex_unlock(&mutex);
    pthread_cond_destroy(&cond), pthread_cond_init(&cond, 0);
    pthread_mutex_lock(&mutex);
    t = in_ms(CLOCK_REALTIME, 10);
    code("by the wall clock", pthread_cond_timedwait(&cond, &mutex, &t));
    pthread_mutex_unlock(&mutex);

    pthread_t threads[5];
    for (int i = 0; i < 5; i++) pthread_create(&threads[i], 0, waits, 0);
    while (stage < 5) sleep_ms(1);
    pthread_mutex_lock(&mutex);
    stage = 100;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < 5; i++) pthread_join(threads[i], 0);
    say("broadcast woke: %d", stage - 100);
    return 0;
}
