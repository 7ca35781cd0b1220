/* Stop, resume and destroy, by another thread than the one that is in run. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <unistd.h>

#include "peer.h"

struct runner {
    struct enclave enclave;
    pthread_t thread;
    long result;
    uint64_t retval;
    const struct memory *relay;
};

static void *run(void *argument)
{
    struct runner *runner = argument;
    struct enclave enclave = runner->enclave;

    runner->result = enclave_run(&enclave, runner->relay, &runner->retval);
    return NULL;
}

static void start(struct runner *runner)
{
    MUST(pthread_create(&runner->thread, NULL, run, runner), 0);
}

static void join(struct runner *runner, long result)
{
    MUST(pthread_join(runner->thread, NULL), 0);
    MUST(runner->result, result);
}

/* An enclave that counts in shared memory until it is told to leave. */
struct counter {
    struct runner runner;
    struct memory shared;
    volatile uint64_t *words;
};

static struct counter counting(void)
{
    struct counter counter = {.shared = memory_new(SHM, PAGE)};

    counter.words = memory_open(SHM, counter.shared);
    counter.runner.enclave = enclave_create("entry.elf", "counter", NORMAL, &counter.shared);
    return counter;
}

static void wait_for_more(const struct counter *counter, uint64_t than)
{
    while (counter->words[0] <= than)
        sched_yield();
}

static void must_stand_still(const struct counter *counter)
{
    uint64_t count = counter->words[0];

    for (int i = 0; i < 20; i++) {
        usleep(1000);
        sched_yield();
        MUST(counter->words[0], count);
    }
}

static void finish(struct counter *counter)
{
    memory_close(SHM, counter->shared, (void *)counter->words);
    MUST(memory_remove(SHM, counter->shared.id), 0);
    enclave_close(&counter->runner.enclave);
}

PROGRAM(thread_stop_resume)
{
    struct counter counter = counting();

    start(&counter.runner);
    for (int i = 0; i < 5; i++) {
        wait_for_more(&counter, counter.words[0]);
        MUST(enclave_stop(&counter.runner.enclave), 0);
        must_stand_still(&counter);
        MUST(enclave_resume(&counter.runner.enclave), 0);
    }
    wait_for_more(&counter, counter.words[0]);
    counter.words[2] = 77;
    counter.words[1] = 1;
    join(&counter.runner, 0);
    MUST(counter.runner.retval, 77);
    finish(&counter);
}

PROGRAM(thread_destroy)
{
    struct counter counter = counting();

    start(&counter.runner);
    wait_for_more(&counter, 0);
    MUST(enclave_destroy(&counter.runner.enclave), 0);
    join(&counter.runner, 0);
    must_stand_still(&counter);
    MUST(enclave_destroy(&counter.runner.enclave), -EINVAL);
    MUST(enclave_stop(&counter.runner.enclave), -EINVAL);
    finish(&counter);
}

PROGRAM(thread_destroy_stopped)
{
    struct counter counter = counting();

    start(&counter.runner);
    wait_for_more(&counter, 0);
    MUST(enclave_stop(&counter.runner.enclave), 0);
    must_stand_still(&counter);
    MUST(enclave_destroy(&counter.runner.enclave), 0);
    join(&counter.runner, 0);
    finish(&counter);
}

/* A second run is refused, and the first goes on. */
PROGRAM(thread_run_twice)
{
    struct counter counter = counting();
    struct enclave same = counter.runner.enclave;

    start(&counter.runner);
    wait_for_more(&counter, 0);
    MUST(enclave_run(&same, NULL, NULL), -EFAULT);
    wait_for_more(&counter, counter.words[0]);
    counter.words[2] = 8;
    counter.words[1] = 1;
    join(&counter.runner, 0);
    MUST(counter.runner.retval, 8);
    finish(&counter);
}

/* An instance runs under the next eid of the one number space. */
PROGRAM(thread_destroy_instance)
{
    struct runner runner = {.enclave = enclave_create("spin.elf", "template", SHADOW, NULL)};
    struct enclave instance = {.fd = device_open(), .eid = runner.enclave.eid + 1, .is_shadow = 1};
    long result;

    start(&runner);
    while ((result = enclave_stop(&instance)) == -EINVAL)
        sched_yield();
    MUST(result, 0);
    MUST(enclave_resume(&instance), 0);
    MUST(enclave_destroy(&instance), 0);
    join(&runner, 0);
    MUST(enclave_destroy(&instance), -EINVAL);
    MUST(enclave_destroy(&runner.enclave), 0);
}

/* The caller is in a server that does not come back: its destruction ends the run all the same. */
PROGRAM(thread_destroy_in_server)
{
    struct memory shared = memory_new(SHM, PAGE);
    volatile uint64_t *words = memory_open(SHM, shared);
    struct enclave service = enclave_create("service.elf", "service", SERVER, NULL);
    struct runner runner = {.enclave = enclave_create("client.elf", "client", NORMAL, &shared)};

    words[1] = 0x5714;
    start(&runner);
    while (!words[0])
        sched_yield();
    for (int i = 0; i < 10; i++)
        usleep(1000);
    MUST(enclave_destroy(&runner.enclave), 0);
    join(&runner, 0);
    (void)service;
    memory_close(SHM, shared, (void *)words);
    MUST(memory_remove(SHM, shared.id), 0);
}

static sigjmp_buf elsewhere;

static void on_segv(int signal)
{
    siglongjmp(elsewhere, signal);
}

/* Whether the page is there; for a short time, SIGSEGV is not the end of the program. */
static int readable(const volatile uint64_t *word)
{
    struct sigaction action = {.sa_handler = on_segv}, before;
    volatile int there = 0;

    MUST(sigaction(SIGSEGV, &action, &before), 0);
    if (sigsetjmp(elsewhere, 1) == 0)
        there = *word || 1;
    MUST(sigaction(SIGSEGV, &before, NULL), 0);
    return there;
}

/* Relay pages are in one place: while the enclave has them, the host has not, even where they are mapped. */
PROGRAM(thread_relay_taken)
{
    struct counter counter = counting();
    struct memory relay = memory_new(RELAY, PAGE);
    volatile uint64_t *words = memory_open(RELAY, relay);

    words[0] = 12;
    HOLDS(readable(words));
    counter.runner.relay = &relay;
    start(&counter.runner);
    wait_for_more(&counter, 0);
    HOLDS(!readable(words));
    MUST(counter.words[11], RELAY_AT);
    MUST(counter.words[12], PAGE);
    counter.words[1] = 1;
    join(&counter.runner, 0);
    memory_close(RELAY, relay, (void *)words);
    words = memory_open(RELAY, relay); /* back at exit */
    MUST(words[0], 12);
    memory_close(RELAY, relay, (void *)words);
    MUST(memory_remove(RELAY, relay.id), 0);
    finish(&counter);
}

/* Many at once, each told to leave with its own number. */
PROGRAM(thread_many)
{
    enum { COUNT = 8 };
    struct counter counters[COUNT];

    for (int i = 0; i < COUNT; i++) {
        counters[i] = counting();
        start(&counters[i].runner);
    }
    for (int i = 0; i < COUNT; i++)
        wait_for_more(&counters[i], 0);
    for (int i = COUNT; i-- > 0;) {
        counters[i].words[2] = 100 + i;
        counters[i].words[1] = 1;
        join(&counters[i].runner, 0);
        MUST(counters[i].runner.retval, 100 + i);
    }
    for (int i = 0; i < COUNT; i++)
        finish(&counters[i]);
}
