/* Threads begin, end, are joined or not, have storage of their own, and run things once. */
#include "say.h"
#include <pthread.h>
#include <semaphore.h>
#include <sys/syscall.h>

static __thread int local = 5;
static __thread char zeroed[100];
static volatile int onces, destroyed, detached;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static sem_t done;
static void initialise(void) { onces++; }
static void destroy(void *value) { __sync_fetch_and_add(&destroyed, (int)(long)value); }

static void *worker(void *number) {
    pthread_once(&once, initialise);
    int fresh = local == 5 && zeroed[50] == 0;
    local += (int)(long)number;
    zeroed[50] = 1;
    pthread_setspecific(key, number);
    sched_yield();
    return (void *)(long)(fresh ? local : -1);
}

static void *exits(void *unused) { pthread_exit((void *)77); }

static void *detaches(void *unused) {
    detached = 1;
    sem_post(&done);
    return 0;
}

static void *tid(void *unused) { return (void *)syscall(SYS_gettid); }
static void *small(void *unused) {
    volatile char room[8000];
    room[0] = 1;
    return (void *)(long)room[0];
}

int main(void) {
    pthread_t threads[16];
    void *result;
    long sum = 0;
    pthread_key_create(&key, destroy);
    for (long i = 0; i < 16; i++)
        if (pthread_create(&threads[i], 0, worker, (void *)i)) return say("pthread_create fails"), 1;
    for (int i = 0; i < 16; i++) pthread_join(threads[i], &result), sum += (long)result;
    say("sum: %ld, mine: %d, once: %d, destroyed: %d", sum, local, onces, destroyed);
    pthread_create(&threads[0], 0, exits, 0);
    code("join", pthread_join(threads[0], &result));
    say("pthread_exit: %ld", (long)result);

    sem_init(&done, 0, 0);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    code("detached", pthread_create(&threads[0], &attributes, detaches, 0));
    sem_wait(&done);
    say("it ran: %d", detached);
    pthread_create(&threads[0], 0, tid, 0);
    pthread_join(threads[0], &result);
    yes("a thread has an id of its own", (long)result != getpid() && (long)result > 0);
    yes("the first has the process's", syscall(SYS_gettid) == getpid());
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_JOINABLE);
    code("stack size", pthread_attr_setstacksize(&attributes, 64 << 10));
    pthread_create(&threads[0], &attributes, small, 0);
    pthread_join(threads[0], &result);
    say("small stack: %ld", (long)result);

    /* Many, one after the other: what they leave is given back. */
    for (int i = 0; i < 200; i++) {
        if (pthread_create(&threads[0], 0, tid, 0)) return say("the %dth fails", i), 1;
        pthread_join(threads[0], 0);
    }
    say("200 in a row");
    pid_t child = forked();
    if (!child) {
        /* The first thread ends, the process goes on until the last one has. */
        pthread_create(&threads[0], 0, small, 0);
        pthread_exit(0);
    }
    reap("the last thread to go leaves 0", child);
    return 0;
}
