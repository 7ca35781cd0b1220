/* setitimer, alarm, and POSIX timers: by signal, by thread, silent. */
#include "say.h"
#include <pthread.h>
#include <semaphore.h>
#include <sys/time.h>

static volatile int alarms, prof, value_seen, code_seen;
static void on_alarm(int signal) { alarms++; }
static void on_vt(int signal) { prof++; }
static void on_timer(int signal, siginfo_t *info, void *context) {
    alarms++, value_seen = info->si_value.sival_int, code_seen = info->si_code;
}
static sem_t called;
static volatile int by_thread;
static pthread_t main_thread;
static void notified(union sigval value) {
    by_thread = value.sival_int + !pthread_equal(main_thread, pthread_self());
    sem_post(&called);
}

int main(void) {
    struct itimerval timer = {{0, 4000}, {0, 4000}}, old, off = {{0}};
    signal(SIGALRM, on_alarm);
    int64_t start = now_ns(CLOCK_MONOTONIC);
    tell("setitimer", setitimer(ITIMER_REAL, &timer, 0));
    while (alarms < 3) pause();
    yes("three take their time", now_ns(CLOCK_MONOTONIC) - start >= 12000000);
    tell("getitimer", getitimer(ITIMER_REAL, &old));
    yes("interval and what is left", old.it_interval.tv_usec == 4000 && old.it_value.tv_usec <= 4001);
    tell("off", setitimer(ITIMER_REAL, &off, &old));
    yes("it was on", old.it_interval.tv_usec == 4000);
    alarms = 0;
    sleep_ms(8);
    say("alarms when off: %d", alarms);
    timer = (struct itimerval){{0, 0}, {0, 1000000}};
    tell("wrong time", setitimer(ITIMER_REAL, &timer, 0));
    tell("unknown timer", setitimer(9, &off, 0));

    say("alarm: %u", alarm(100));
    unsigned left = alarm(50);
    yes("replaced: what was left", left == 100);
    yes("alarm and setitimer are one", (getitimer(ITIMER_REAL, &old), old.it_value.tv_sec >= 49));
    pid_t child = forked();
    if (!child) _exit(alarm(0));
    reap("a child has none", child);
    yes("off", alarm(0) >= 49);
    say("none: %u", alarm(0));

    signal(SIGVTALRM, on_vt);
    timer = (struct itimerval){{0, 0}, {0, 3000}};
    tell("ITIMER_VIRTUAL", setitimer(ITIMER_VIRTUAL, &timer, 0));
    for (volatile long i = 0; !prof && i < 100000000; i++) {}
    say("came by working: %d", prof);

    /* POSIX timers. */
    timer_t id;
    struct sigaction action = {.sa_sigaction = on_timer, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &action, 0);
    struct sigevent event = {
        .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 321};
    tell("timer_create", timer_create(CLOCK_MONOTONIC, &event, &id));
    struct itimerspec spec = {{0, 0}, {0, 4000000}}, was;
    alarms = 0;
    tell("timer_settime", timer_settime(id, 0, &spec, 0));
    timer_gettime(id, &was);
    yes("what is left", was.it_value.tv_nsec > 0 && was.it_value.tv_nsec <= 4000000);
    sigset_t none;
    sigemptyset(&none);
    while (!alarms) sleep_ms(1);
    say("value: %d, SI_TIMER: %s", value_seen, code_seen == SI_TIMER ? "yes" : "no");

    /* Blocked for a while: one signal, and the rest are counted. */
    sigset_t set;
    sigemptyset(&set), sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, 0);
    spec = (struct itimerspec){{0, 2000000}, {0, 2000000}};
    timer_settime(id, 0, &spec, 0);
    sleep_ms(11);
    siginfo_t info;
    yes("it is there", sigwaitinfo(&set, &info) == SIGUSR1);
    yes("overruns", timer_getoverrun(id) >= 3 && info.si_overrun >= 3);
    tell("timer_delete", timer_delete(id));
    struct timespec zero = {0, 0};
    sigtimedwait(&set, &info, &zero); /* one that came meanwhile */

    event = (struct sigevent){.sigev_notify = SIGEV_NONE};
    tell("silent", timer_create(CLOCK_REALTIME, &event, &id));
    spec = (struct itimerspec){{0, 0}, {0, 3000000}};
    timer_settime(id, 0, &spec, 0);
    sleep_ms(6);
    timer_gettime(id, &was);
    say("left: %ld", was.it_value.tv_nsec);
    timer_delete(id);

    main_thread = pthread_self();
    sem_init(&called, 0, 0);
    event = (struct sigevent){
        .sigev_notify = SIGEV_THREAD, .sigev_notify_function = notified, .sigev_value.sival_int = 40};
    tell("by thread", timer_create(CLOCK_MONOTONIC, &event, &id));
    timer_settime(id, 0, &spec, 0);
    while (sem_wait(&called)) {}
    say("called: %d", by_thread);
    timer_delete(id);
    event = (struct sigevent){.sigev_notify = 77};
    tell("unknown way", timer_create(CLOCK_MONOTONIC, &event, &id));
    event = (struct sigevent){.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 99};
    tell("unknown signal", timer_create(CLOCK_MONOTONIC, &event, &id));
    event.sigev_signo = SIGUSR1;
    tell("unknown clock", timer_create(77, &event, &id));
    return 0;
}
