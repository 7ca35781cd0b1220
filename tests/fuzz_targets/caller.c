/* Calls a server once for each message of a list; the list and the answers are in memory shared with the host.
 *
 *     page 0          name of the server, number of messages, a struct message for each
 *     page 1 + 2 i    memory of message i: in; as it came back: out
 *     page 2 + 2 i    response memory of message i: out
 *
 * test_targets.py writes and reads it. No more than the first page of memory is passed or looked at.
 */
#include <string.h>

#include "eapp.h"

struct message {
    unsigned long argument;
    unsigned long passed; /* whether there is memory */
    long status;          /* of call_enclave */
    unsigned long value;
    unsigned long returned, response; /* sizes of what came back */
};

struct list {
    char server[16];
    unsigned long count;
    unsigned long unused;
    struct message messages[];
};

static void take(void *page, unsigned long address, unsigned long size)
{
    if (!address)
        return;
    memcpy(page, (const void *)address, PAGE_SIZE);
    eapp_munmap((void *)address, size);
}

static int call(unsigned long handle, struct message *message, char *pages)
{
    struct call_enclave_arg_t arg = {.req_arg = message->argument};

    if (message->passed) {
        void *memory = eapp_mmap(NULL, PAGE_SIZE);

        if (!memory)
            return 0;
        memcpy(memory, pages, PAGE_SIZE);
        arg.req_vaddr = (unsigned long)memory;
        arg.req_size = PAGE_SIZE;
    }
    message->status = call_enclave(handle, &arg);
    message->value = arg.resp_val;
    message->returned = arg.req_vaddr ? arg.req_size : 0;
    message->response = arg.resp_vaddr ? arg.resp_size : 0;
    take(pages, arg.req_vaddr, arg.req_size);
    take(pages + PAGE_SIZE, arg.resp_vaddr, arg.resp_size);
    return 1;
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct list *list = (struct list *)args[10];
    char *pages = (char *)list + PAGE_SIZE;
    long handle = list ? acquire_enclave(list->server) : -1;

    if (handle == -1)
        EAPP_RETURN(1);
    for (unsigned long i = 0; i < list->count; i++)
        if (!call((unsigned long)handle, &list->messages[i], pages + 2 * i * PAGE_SIZE))
            EAPP_RETURN(2);
    EAPP_RETURN(0);
}
