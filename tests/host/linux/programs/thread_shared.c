/* Mutex, condition, semaphore, barrier, and read-write lock in memory that processes share. */
#include "say.h"
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>

static struct shared {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    sem_t semaphore, answer;
    pthread_barrier_t barrier;
    pthread_rwlock_t rwlock;
    long counter;
    int stage;
} *s;

int main(void) {
    s = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t mutexes;
    pthread_condattr_t conds;
    pthread_barrierattr_t barriers;
    pthread_rwlockattr_t rwlocks;
    pthread_mutexattr_init(&mutexes), pthread_condattr_init(&conds), pthread_barrierattr_init(&barriers);
    pthread_rwlockattr_init(&rwlocks);
    code("mutex", pthread_mutexattr_setpshared(&mutexes, PTHREAD_PROCESS_SHARED));
    code("cond", pthread_condattr_setpshared(&conds, PTHREAD_PROCESS_SHARED));
    code("barrier", pthread_barrierattr_setpshared(&barriers, PTHREAD_PROCESS_SHARED));
    code("rwlock", pthread_rwlockattr_setpshared(&rwlocks, PTHREAD_PROCESS_SHARED));
    pthread_mutex_init(&s->mutex, &mutexes), pthread_cond_init(&s->cond, &conds);
    pthread_barrier_init(&s->barrier, &barriers, 3), pthread_rwlock_init(&s->rwlock, &rwlocks);
    tell("semaphore", sem_init(&s->semaphore, 1, 0));
    sem_init(&s->answer, 1, 0);

    pid_t children[2];
    for (int i = 0; i < 2; i++) {
        if ((children[i] = forked())) continue;
        for (int j = 0; j < 2000; j++) {
            pthread_mutex_lock(&s->mutex);
            s->counter = s->counter + 1;
            pthread_mutex_unlock(&s->mutex);
        }
        int serial = pthread_barrier_wait(&s->barrier) == PTHREAD_BARRIER_SERIAL_THREAD;
        _exit(10 + serial);
    }
    for (int j = 0; j < 2000; j++) {
        pthread_mutex_lock(&s->mutex);
        s->counter = s->counter + 1;
        pthread_mutex_unlock(&s->mutex);
    }
    int serials = pthread_barrier_wait(&s->barrier) == PTHREAD_BARRIER_SERIAL_THREAD, status;
    say("counter behind the barrier: %ld", s->counter);
    for (int i = 0; i < 2; i++) waitpid(children[i], &status, 0), serials += WEXITSTATUS(status) - 10;
    say("one of them is told so: %d", serials);

    pid_t child = forked();
    if (!child) {
        pthread_mutex_lock(&s->mutex);
        while (!s->stage) pthread_cond_wait(&s->cond, &s->mutex);
        s->stage = 2;
        pthread_cond_signal(&s->cond);
        pthread_mutex_unlock(&s->mutex);
        for (int i = 0; i < 20; i++) sem_wait(&s->semaphore), sem_post(&s->answer);
        _exit(pthread_rwlock_tryrdlock(&s->rwlock) == 0 && pthread_rwlock_trywrlock(&s->rwlock) == EBUSY ? 0
                                                                                                         : 1);
    }
    sleep_ms(5);
    pthread_mutex_lock(&s->mutex);
    s->stage = 1;
    pthread_cond_signal(&s->cond);
    while (s->stage != 2) pthread_cond_wait(&s->cond, &s->mutex);
    pthread_mutex_unlock(&s->mutex);
    say("condition: stage %d", s->stage);
    pthread_rwlock_rdlock(&s->rwlock);
    int value;
    for (int i = 0; i < 20; i++) sem_post(&s->semaphore), sem_wait(&s->answer);
    sem_getvalue(&s->semaphore, &value);
    say("semaphore at the end: %d", value);
    reap("child, with a lock to read", child);
    tell("trywait", sem_trywait(&s->semaphore));
    int64_t until = now_ns(CLOCK_REALTIME) + 8000000;
    struct timespec t = {until / 1000000000, until % 1000000000};
    tell("timedwait", sem_timedwait(&s->semaphore, &t));
    yes("it waited", now_ns(CLOCK_REALTIME) >= until);
    return 0;
}
