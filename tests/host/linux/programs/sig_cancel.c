/* pthread_cancel: a signal of the library's own, which ends threads where they may end. */
#include "say.h"
#include <pthread.h>

static int ends[2];
static volatile int cleaned, reached, started;
static void cleanup(void *by) { cleaned += (int)(long)by; }

static void *reads(void *unused) {
    char c;
    pthread_cleanup_push(cleanup, (void *)1);
    pthread_cleanup_push(cleanup, (void *)10);
    started = 1;
    read(ends[0], &c, 1);
    reached = 1;
    pthread_cleanup_pop(0);
    pthread_cleanup_pop(0);
    return 0;
}

static void *spins(void *unused) {
    int old;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
    say("type was deferred: %s", old == PTHREAD_CANCEL_DEFERRED ? "yes" : "no");
    started = 1;
    for (;;) {}
    return 0;
}

static void *refuses(void *unused) {
    int old;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
    started = 1;
    sleep_ms(10);
    reached = 1;
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old);
    pthread_testcancel();
    reached = 2;
    return 0;
}

static void *sleeps(void *unused) {
    started = 1;
    sleep(100);
    return 0;
}

static void *waits(void *unused) {
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
    pthread_mutex_lock(&mutex);
    pthread_cleanup_push((void (*)(void *))pthread_mutex_unlock, &mutex);
    started = 1;
    pthread_cond_wait(&cond, &mutex);
    pthread_cleanup_pop(0);
    return 0;
}

static void run(const char *what, void *(*body)(void *), int wait_ms) {
    pthread_t thread;
    void *result = 0;
    cleaned = reached = started = 0;
    pthread_create(&thread, 0, body, 0);
    while (!started) sleep_ms(1);
    if (wait_ms) sleep_ms(wait_ms);
    int error = pthread_cancel(thread);
    pthread_join(thread, &result);
    code(what, error);
    say("canceled: %s, cleaned up: %d, reached: %d", result == PTHREAD_CANCELED ? "yes" : "no", cleaned,
        reached);
}

int main(void) {
    pipe(ends);
    run("in a read", reads, 5);
    run("before the read", reads, 0);
    run("asynchronously", spins, 3);
    run("refused for a while", refuses, 0);
    run("in a sleep", sleeps, 3);
    run("in a condition", waits, 3);
    return 0;
}
