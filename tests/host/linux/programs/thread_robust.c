/* Robust mutexes: whoever comes after a holder that died is told. */
#include "say.h"
#include <pthread.h>
#include <sys/mman.h>

static pthread_mutex_t *mutex;

static void make(int shared) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    code("robust", pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST));
    if (shared) code("shared", pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED));
    pthread_mutex_init(mutex, &attributes);
}

static void *dies(void *unused) {
    pthread_mutex_lock(mutex);
    return 0;
}

static void *waits(void *unused) {
    int error = pthread_mutex_lock(mutex);
    if (error == EOWNERDEAD) pthread_mutex_consistent(mutex);
    pthread_mutex_unlock(mutex);
    return (void *)(long)error;
}

int main(void) {
    pthread_t thread, waiter;
    void *result;
    mutex = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    make(0);
    pthread_create(&thread, 0, dies, 0);
    pthread_join(thread, 0);
    code("after a thread that ended", pthread_mutex_lock(mutex));
    code("made consistent", pthread_mutex_consistent(mutex));
    code("unlock", pthread_mutex_unlock(mutex));
    code("as ever", pthread_mutex_lock(mutex));
    code("unlock", pthread_mutex_unlock(mutex));
    code("nothing to make consistent", pthread_mutex_consistent(mutex));
    pthread_create(&thread, 0, dies, 0);
    pthread_join(thread, 0);
    code("again", pthread_mutex_trylock(mutex));
    code("unlock as it is", pthread_mutex_unlock(mutex));
    code("lost for good", pthread_mutex_lock(mutex));

    /* Between processes: the one that holds it is killed while this one waits. */
    make(1);
    int ends[2];
    char c;
    pipe(ends);
    pid_t child = forked();
    if (!child) {
        pthread_mutex_lock(mutex);
        write(ends[1], "x", 1);
        for (;;) pause();
    }
    read(ends[0], &c, 1);
    code("held by the child", pthread_mutex_trylock(mutex));
    pthread_create(&waiter, 0, waits, 0);
    sleep_ms(8);
    kill(child, SIGKILL);
    pthread_join(waiter, &result);
    code("the waiter is told", (long)result);
    reap("child", child);
    child = forked();
    if (!child) {
        pthread_mutex_lock(mutex);
        _exit(0);
    }
    reap("child that exits", child);
    code("told", pthread_mutex_lock(mutex));
    pthread_mutex_consistent(mutex), pthread_mutex_unlock(mutex);
    return 0;
}
