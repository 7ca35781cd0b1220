/* Scheduling policies, of a process and of its threads. */
#include "say.h"
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>

int main(void) {
    /* The calls themselves: musl refuses these functions. */
    struct sched_param param = {.sched_priority = 77};
    tell("sched_getscheduler", syscall(SYS_sched_getscheduler, 0));
    tell("sched_getparam", syscall(SYS_sched_getparam, 0, &param));
    say("priority: %d", param.sched_priority);
    tell("of nobody", syscall(SYS_sched_getscheduler, 99999999));
    param.sched_priority = 0;
    tell("SCHED_BATCH", syscall(SYS_sched_setscheduler, 0, SCHED_BATCH, &param));
    tell("sched_getscheduler", syscall(SYS_sched_getscheduler, 0));
    tell("SCHED_OTHER", syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &param));
    param.sched_priority = 5;
    tell("SCHED_OTHER with a priority", syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &param));
    tell("unknown policy", syscall(SYS_sched_setscheduler, 0, 77, &param));
    param.sched_priority = 1000;
    tell("SCHED_FIFO with too high a priority", syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &param));
    pthread_attr_t attributes;
    int policy = -1;
    pthread_attr_init(&attributes);
    code("attr policy", pthread_attr_getschedpolicy(&attributes, &policy));
    say("policy: %d", policy);
    code("pthread_getschedparam", pthread_getschedparam(pthread_self(), &policy, &param));
    say("policy: %d, priority %d", policy, param.sched_priority);
    struct timespec quantum = {-1, -1};
    tell("sched_rr_get_interval", sched_rr_get_interval(0, &quantum));
    yes("a time", quantum.tv_sec >= 0 && quantum.tv_nsec >= 0);
    for (int i = 0; i < 100; i++) sched_yield();
    say("yielded");
    return 0;
}
