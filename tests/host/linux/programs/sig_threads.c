/* Signals and threads: to a process they go to any thread that lets them in, to a thread only there. */
#include "say.h"
#include <pthread.h>
#include <semaphore.h>

static __thread int mine;
static volatile int by_thread[3], total;
static sem_t ready, done;
static pthread_barrier_t barrier;

static void handler(int signal) {
    by_thread[mine]++;
    __sync_fetch_and_add(&total, 1);
    sem_post(&done);
}

static void *worker(void *number) {
    mine = (int)(long)number;
    sigset_t set;
    sigemptyset(&set), sigaddset(&set, SIGUSR1);
    if (mine == 1) pthread_sigmask(SIG_UNBLOCK, &set, 0);
    sem_post(&ready);
    pthread_barrier_wait(&barrier);
    return 0;
}

static void wait_for(sem_t *semaphore) {
    while (sem_wait(semaphore) && errno == EINTR) {}
}

static void *raises(void *unused) {
    mine = 2;
    int before = by_thread[2];
    raise(SIGUSR2);
    return (void *)(long)(by_thread[2] - before);
}

static void *crashes(void *unused) {
    *(volatile int *)16 = 1;
    return 0;
}

int main(void) {
    pthread_t threads[2];
    void *result;
    sigset_t set;
    sem_init(&ready, 0, 0), sem_init(&done, 0, 0);
    pthread_barrier_init(&barrier, 0, 3);
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, 0), sigaction(SIGUSR2, &action, 0);
    sigemptyset(&set), sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, 0);
    for (long i = 0; i < 2; i++) pthread_create(&threads[i], 0, worker, (void *)(i + 1)), wait_for(&ready);

    for (int i = 0; i < 5; i++) kill(getpid(), SIGUSR1), wait_for(&done);
    say("to the process: main %d, the one that lets it in %d, the other %d", by_thread[0], by_thread[1],
        by_thread[2]);
    code("pthread_kill", pthread_kill(threads[1], SIGUSR2));
    wait_for(&done);
    say("to one thread: main %d, first %d, second %d", by_thread[0], by_thread[1], by_thread[2]);
    code("to a thread that blocks it", pthread_kill(threads[1], SIGUSR1));
    sleep_ms(3);
    say("not handled: %d", by_thread[2]);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], 0);
    say("nor ever: %d", total);
    pthread_create(&threads[0], 0, raises, 0);
    pthread_join(threads[0], &result);
    say("raise in a thread: handled there %ld", (long)result);

    /* A default action is the whole process's, whichever thread it strikes. */
    pid_t child = forked();
    if (!child) {
        pthread_create(&threads[0], 0, crashes, 0);
        pthread_join(threads[0], 0);
        _exit(0);
    }
    reap("a thread that crashes", child);
    child = forked();
    if (!child) {
        signal(SIGUSR2, SIG_DFL);
        pthread_create(&threads[0], 0, raises, 0);
        pthread_join(threads[0], 0);
        _exit(0);
    }
    reap("a thread that raises", child);
    return 0;
}
