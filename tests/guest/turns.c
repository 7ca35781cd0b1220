/* What several chains at once do to each other: shared memory says which part this one plays, and how often.
 *
 *     COUNT   adds to a number in memory that enclaves share, in two steps
 *     WAIT    waits until somebody sets a flag there, by yielding
 *     SET     sets it
 *     CALL    has the server "counter" add, and yields while that is busy
 *     QUEUE   likewise, but waits in the queue of the server
 *     FAULT   is destroyed
 *     PRINT   prints
 */
#include "eapp.h"
#include "print.h"
#include "threads.h"

enum { COUNT = 1, WAIT, SET, CALL, FAULT, PRINT, QUEUE };

int EAPP_ENTRY main()
{
    unsigned long *args, sum = 0;
    EAPP_RESERVE_REG;
    unsigned long *order = (unsigned long *)args[10], part = order[0], times = order[1];
    volatile unsigned long *shared = eapp_shm_get(77, PAGE_SIZE, 0);
    struct call_enclave_arg_t call = {0};
    unsigned long server = part == CALL || part == QUEUE ? acquire_enclave("counter") : 0;

    for (unsigned long i = 0; i < times; i++) {
        switch (part) {
        case COUNT:
            shared[0] = shared[0] + 1;
            break;
        case WAIT:
            while (!shared[1])
                eapp_yield();
            break;
        case SET:
            shared[1] = 1;
            break;
        case CALL:
            while (call_enclave(server, &call) == -2)
                eapp_yield();
            sum += call.resp_val;
            break;
        case QUEUE:
            if (call_enclave_wait(server, &call))
                EAPP_RETURN(-1);
            sum += call.resp_val;
            break;
        case FAULT:
            *(volatile char *)0x20 = 1;
            break;
        default:
            eapp_print("%lu: %lu\n", get_enclave_id(), i);
        }
    }
    EAPP_RETURN(part == CALL || part == QUEUE ? sum : shared[0]);
}
