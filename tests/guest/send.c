/* A client that sends what the host says: requests of any kind to any server, to see what the server makes of them.
 *
 * Shared memory: struct head, then from the second page on one slot of SLOT_PAGES pages a request: struct request,
 * and from the slot's second page on the content of the pages to pass. Results go back into the slots.
 */
#include <string.h>

#include "eapp.h"

#define SLOT_PAGES 5
#define SENT_PAGES (SLOT_PAGES - 1)

struct head {
    char server[16];
    unsigned long count;
};

struct request {
    unsigned long req_arg;
    unsigned long pages;    /* how many to pass: 0 for none */
    unsigned long result;   /* of the call itself */
    unsigned long resp_val;
    unsigned long came_back;
};

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct head *head = (struct head *)args[10];
    long server = acquire_enclave(head->server);

    for (unsigned long i = 0; i < head->count; i++) {
        struct request *request = (struct request *)(args[10] + PAGE_SIZE + i * SLOT_PAGES * PAGE_SIZE);
        void *content = (char *)request + PAGE_SIZE;
        struct call_enclave_arg_t arg = {.req_arg = request->req_arg};

        if (request->pages) {
            void *sent = eapp_mmap(NULL, SENT_PAGES * PAGE_SIZE);

            memcpy(sent, content, request->pages * PAGE_SIZE);
            arg.req_vaddr = (unsigned long)sent;
            arg.req_size = request->pages * PAGE_SIZE;
        }
        request->result = call_enclave(server, &arg);
        request->resp_val = arg.resp_val;
        request->came_back = arg.req_vaddr != 0;
        if (arg.req_vaddr) {
            memcpy(content, (void *)arg.req_vaddr, request->pages * PAGE_SIZE);
            eapp_munmap((void *)arg.req_vaddr, request->pages * PAGE_SIZE);
        }
    }
    EAPP_RETURN(0);
}
