/* Threads and the process's ends and beginnings: exit, exec and fork from any thread. */
#include "say.h"
#include <pthread.h>
#include <sys/syscall.h>

static char **arguments;
static const char *program;
static volatile int running, parent_side;

static void *idles(void *unused) {
    running++;
    for (;;) pause();
}

static void *exits(void *unused) { exit(23); }

static void *executes(void *unused) {
    execv(program, arguments);
    _exit(1);
}

static void *forks(void *unused) {
    pid_t child = forked();
    if (!child) {
        /* Only this thread is there, and it is the first of its process. */
        int alone = syscall(SYS_gettid) == getpid();
        void *p = malloc(1000); /* no other thread holds the heap's lock for ever */
        _exit(alone && p ? 30 : 31);
    }
    int status;
    waitpid(child, &status, 0);
    return (void *)(long)WEXITSTATUS(status);
}

static void before(void) { parent_side = 1; }
static void in_parent(void) { parent_side += 10; }
static void in_child(void) { parent_side += 100; }

int main(int argc, char **argv) {
    if (argc > 1) {
        yes("executed: the pid is kept", getpid() == atoi(argv[1]));
        yes("and it is the first thread's", syscall(SYS_gettid) == getpid());
        return 24;
    }
    pthread_t thread;
    void *result;
    char pid[24];
    pid_t child = forked();
    if (!child) {
        for (int i = 0; i < 3; i++) pthread_create(&thread, 0, idles, 0);
        pthread_create(&thread, 0, exits, 0);
        for (;;) pause();
    }
    reap("exit in a thread", child);
    child = forked();
    if (!child) {
        for (int i = 0; i < 3; i++) pthread_create(&thread, 0, idles, 0);
        return 25;
    }
    reap("return from main with threads about", child);
    child = forked();
    if (!child) {
        char *words[AGAIN] = {argv[0], pid};
        snprintf(pid, sizeof pid, "%d", getpid());
        program = again(argv[0], words, 0), arguments = words;
        for (int i = 0; i < 3; i++) pthread_create(&thread, 0, idles, 0);
        while (running < 3) sleep_ms(1);
        pthread_create(&thread, 0, executes, 0);
        for (;;) pause();
    }
    reap("execve in a thread", child);

    pthread_create(&thread, 0, forks, 0);
    pthread_join(thread, &result);
    say("fork in a thread: %ld", (long)result);
    pthread_create(&thread, 0, idles, 0);
    child = forked();
    if (!child) {
        /* The copy can make threads of its own. */
        pthread_create(&thread, 0, forks, 0);
        pthread_join(thread, &result);
        _exit((long)result);
    }
    reap("fork with threads about", child);
    pthread_atfork(before, in_parent, in_child);
    child = forked();
    if (!child) _exit(parent_side);
    int status;
    waitpid(child, &status, 0);
    say("pthread_atfork: %d in the child, %d in the parent", WEXITSTATUS(status), parent_side);
    return 0;
}
