/* What the server counter does: see counter.c. */
#ifndef PLTVM_COUNTER_H
#define PLTVM_COUNTER_H

#define COUNTER_SERVER "counter"

enum counter_operation {
    COUNTER_ADD,        /* one, without a lock: additions get lost when two clients make them at once */
    COUNTER_ADD_LOCKED, /* one, with a lock */
    COUNTER_GET,
};

#endif
