/* Clocks: which there are, that they go forward, and sleeping until a time. */
#include "say.h"
#include <pthread.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/times.h>

static void *busy(void *unused) {
    int64_t before = now_ns(CLOCK_THREAD_CPUTIME_ID);
    for (volatile int i = 0; i < 200000; i++) {}
    return (void *)(now_ns(CLOCK_THREAD_CPUTIME_ID) - before);
}

int main(void) {
    static const int clocks[] = {CLOCK_REALTIME,          CLOCK_MONOTONIC,     CLOCK_PROCESS_CPUTIME_ID,
                                 CLOCK_THREAD_CPUTIME_ID, CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE,
                                 CLOCK_MONOTONIC_COARSE,  CLOCK_BOOTTIME};
    static const char *names[] = {"REALTIME",      "MONOTONIC",       "PROCESS_CPUTIME",  "THREAD_CPUTIME",
                                  "MONOTONIC_RAW", "REALTIME_COARSE", "MONOTONIC_COARSE", "BOOTTIME"};
    struct timespec t, r;
    for (int i = 0; i < 8; i++) {
        int got = clock_gettime(clocks[i], &t), res = clock_getres(clocks[i], &r);
        say("%s: %d %d, %s", names[i], got, res,
            t.tv_nsec >= 0 && t.tv_nsec < 1000000000 && r.tv_sec == 0 && r.tv_nsec > 0 ? "sane" : "odd");
    }
    tell("unknown clock", clock_gettime(77, &t));
    tell("unknown clock's resolution", clock_getres(77, &r));
    int backwards = 0;
    int64_t last = 0;
    for (int i = 0; i < 2000; i++) {
        int64_t now = now_ns(CLOCK_MONOTONIC);
        backwards += now < last, last = now;
    }
    say("backwards: %d", backwards);
    struct timeval tv;
    gettimeofday(&tv, 0);
    yes("gettimeofday, time and REALTIME are one",
        llabs(tv.tv_sec - now_ns(CLOCK_REALTIME) / 1000000000) <= 1 && llabs(time(0) - tv.tv_sec) <= 1);
    yes("after 2020", tv.tv_sec > 1577836800);

    int64_t start = now_ns(CLOCK_MONOTONIC), until = start + 10000000;
    t = (struct timespec){until / 1000000000, until % 1000000000};
    code("until a time", clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, 0));
    yes("not before", now_ns(CLOCK_MONOTONIC) >= until);
    code("until one that was", clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, 0));
    t = (struct timespec){0, 1000000000};
    code("wrong time", clock_nanosleep(CLOCK_MONOTONIC, 0, &t, 0));
    tell("wrong time", nanosleep(&t, 0));
    t = (struct timespec){-1, 0};
    tell("negative time", nanosleep(&t, 0));
    t = (struct timespec){0, 0};
    tell("no time", nanosleep(&t, 0));
    code("unknown clock", clock_nanosleep(77, 0, &t, 0));
    code("a thread's own time", clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &t, 0));

    /* Sleeping takes no time of the processor, working does. */
    int64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    start = now_ns(CLOCK_MONOTONIC);
    sleep_ms(20);
    yes("asleep", now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu < now_ns(CLOCK_MONOTONIC) - start);
    cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    clock_t ticks = clock();
    void *spent;
    pthread_t thread;
    pthread_create(&thread, 0, busy, 0);
    pthread_join(thread, &spent);
    yes("a thread worked", (long)spent > 0);
    yes("so the process did", now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu > 0);
    yes("clock agrees", clock() >= ticks);
    clockid_t clock_id;
    code("clock_getcpuclockid", clock_getcpuclockid(0, &clock_id));
    yes("it goes", now_ns(clock_id) > 0);
    code("pthread_getcpuclockid", pthread_getcpuclockid(pthread_self(), &clock_id));
    yes("it goes", now_ns(clock_id) > 0);
    struct tms ticks_of;
    yes("times", times(&ticks_of) != (clock_t)-1 && ticks_of.tms_utime >= 0 && ticks_of.tms_cutime >= 0);
    say("ticks: %ld", sysconf(_SC_CLK_TCK));
    struct rusage usage;
    tell("getrusage", getrusage(RUSAGE_SELF, &usage));
    yes("sane", usage.ru_maxrss > 0 && usage.ru_utime.tv_usec >= 0 && usage.ru_utime.tv_usec < 1000000);
    tell("of a thread", getrusage(RUSAGE_THREAD, &usage));
    tell("of whom", getrusage(99, &usage));
    setenv("TZ", "UTC0", 1);
    time_t when = 1700000000;
    struct tm *tm = gmtime(&when);
    say("gmtime: %d-%02d-%02d %02d:%02d:%02d", tm->tm_year + 1900, tm->tm_mon + 1, tm->tm_mday, tm->tm_hour,
        tm->tm_min, tm->tm_sec);
    return 0;
}
