/* The proxy: an enclave that calls servers for a Python program, which cannot call them itself.
 *
 * Memory shared with the host has a page for orders, followed by a window that passes data in parts:
 *
 *     host      writes an order into the mailbox, `busy` 1 │ lets the proxy run
 *     proxy     takes the steps of it, in this order       │ `busy` 0, and yields
 *
 * The host is pltvm/host/proxy.py. The proxy trusts the host, as it has nothing to protect.
 */
#include <string.h>

#include "eapp.h"

enum step {
    TAKE = 1,   /* fresh memory of `size` bytes to pass */
    FILL = 2,   /* `count` bytes of the window go to `offset` of it */
    CALL = 4,   /* the server `handle`, with `argument` and that memory */
    FETCH = 8,  /* a window, from `offset` on, of the returned memory, or with `of_request` of the passed memory */
    DROP = 16,  /* give the returned memory to the host; not if there is more to fetch than in this order */
};

struct mailbox {
    unsigned long busy, steps;
    unsigned long handle, argument;
    unsigned long size, offset, count, of_request;
    unsigned long result, value;                 /* of the call: what it gives, and the server's resp_val */
    unsigned long request_size, response_size;   /* bytes that came back of what was passed, and beside it */
};

static struct call_enclave_arg_t call;

/* Gives whether that was all. */
static int fetch(struct mailbox *box, char *window, unsigned long room)
{
    unsigned long from = call.resp_vaddr, size = box->response_size;

    if (box->of_request || !from)
        from = call.req_vaddr, size = box->request_size;
    box->count = box->offset < size ? size - box->offset : 0;
    if (box->count > room)
        box->count = room;
    memcpy(window, (const char *)from + box->offset, box->count);
    return box->count == box->request_size + box->response_size;
}

static void drop(void)
{
    if (call.req_vaddr)
        eapp_munmap((void *)call.req_vaddr, call.req_size);
    if (call.resp_vaddr)
        eapp_munmap((void *)call.resp_vaddr, call.resp_size);
    memset(&call, 0, sizeof call);
}

static void serve(struct mailbox *box, char *window, unsigned long room)
{
    int whole = 1;

    if (box->steps & TAKE && box->size) {
        call.req_vaddr = (unsigned long)eapp_mmap(NULL, box->size);
        call.req_size = box->size;
    }
    if (box->steps & FILL && call.req_vaddr)
        memcpy((char *)call.req_vaddr + box->offset, window, box->count);
    if (box->steps & CALL) {
        call.req_arg = box->argument;
        box->result = (unsigned long)(box->size && !call.req_vaddr ? -1 : call_enclave(box->handle, &call));
        if (box->result)
            call.resp_vaddr = 0;
        box->value = call.resp_val;
        box->request_size = call.req_vaddr ? call.req_size : 0;
        box->response_size = call.resp_vaddr ? call.resp_size : 0;
        box->offset = 0;
    }
    if (box->steps & FETCH)
        whole = fetch(box, window, room);
    if (box->steps & DROP && whole)
        drop();
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct mailbox *box = (struct mailbox *)args[10];
    char *window = (char *)box + PAGE_SIZE;

    for (;;) {
        serve(box, window, args[11] - PAGE_SIZE);
        box->busy = 0;
        eapp_yield();
    }
}
