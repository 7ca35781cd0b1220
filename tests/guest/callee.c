/* A server for tests of calls from Python: does what its argument says, with what was passed. */
#include <string.h>

#include "eapp.h"
#include "print.h"

enum {
    ECHO, COUNT, SHOUT, KEEP, GIVE, BOTH, FAULT, SPIN, EXIT, YIELD, NEXT, UNKNOWN, WHO, SAY, GROW, NEGATIVE, SUM
};

static unsigned long calls;

static unsigned long sum(const unsigned char *bytes, unsigned long size)
{
    unsigned long total = 0;

    for (unsigned long i = 0; i < size; i++)
        total += bytes[i];
    return total;
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    unsigned long what = args[10] & 0xff, number = args[10] >> 8;
    char *data = (char *)args[11];
    struct call_enclave_arg_t answer = {.req_vaddr = args[11], .req_size = args[12]}, next = {0};

    calls++;
    switch (what) {
    case COUNT:
        answer.resp_val = calls;
        break;
    case SHOUT:
        for (char *at = data; *at; at++)
            if (*at >= 'a' && *at <= 'z')
                *at -= 'a' - 'A';
        break;
    case KEEP:
        answer.req_vaddr = 0;
        answer.resp_val = sum((unsigned char *)data, args[12]);
        break;
    case GIVE:
    case BOTH:
        answer.resp_size = number * PAGE_SIZE;
        answer.resp_vaddr = (unsigned long)eapp_mmap(NULL, answer.resp_size);
        for (unsigned long i = 0; i < answer.resp_size; i++)
            ((unsigned char *)answer.resp_vaddr)[i] = (unsigned char)(i / PAGE_SIZE + 1);
        if (what == GIVE)
            answer.req_vaddr = 0;
        break;
    case FAULT:
        *(volatile int *)0x123456780 = 1;
        break;
    case SPIN:
        if (data)
            eapp_print("spins\n");
        for (;;)
            calls++;
    case EXIT:
        EAPP_RETURN(3);
    case YIELD:
        for (int i = 0; i < 5; i++)
            eapp_yield();
        answer.resp_val = 5;
        break;
    case NEXT:
    case UNKNOWN:
        next.req_arg = number;
        long handle = acquire_enclave(what == NEXT ? "next" : "nxt");
        answer.resp_val = handle < 0 ? (unsigned long)-2 : (unsigned long)call_enclave(handle, &next) + next.resp_val;
        break;
    case WHO:
        answer.resp_val = get_caller_id();
        break;
    case SAY:
        eapp_print("said %s\n", data ? data : "nothing");
        break;
    case GROW:
        memset(data, 'x', 100);
        break;
    case NEGATIVE:
        answer.resp_val = -38UL;
        break;
    case SUM:
        answer.resp_val = sum((unsigned char *)data, args[12]);
        break;
    }
    SERVER_RETURN(&answer);
}
