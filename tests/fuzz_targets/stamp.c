/* The server stamp, which the target notary calls; it is no target itself.
 *
 * It stamps the document in the page passed and gives it back. A document whose text is too long it keeps: the memory
 * of the request does not go back to the caller then.
 */
#include <errno.h>
#include <stdint.h>

#include "eapp.h"

#define LONGEST_TEXT 512

struct document { /* as in notary.c */
    uint32_t order;
    uint32_t size;
    uint64_t digest;
    uint64_t stamp;
    uint64_t stamps;
};

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct document *document = (struct document *)args[11];
    struct call_enclave_arg_t ret = {.resp_val = -EINVAL};

    if (document && document->size <= LONGEST_TEXT) {
        document->stamp = document->digest ^ 0x5354414d50;
        ret.resp_val = 0;
        ret.req_vaddr = args[11];
        ret.req_size = args[12];
    }
    SERVER_RETURN(&ret);
}
