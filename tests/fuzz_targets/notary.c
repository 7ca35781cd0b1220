/* The server notary: digests a document, and has it stamped by the server stamp (stamp.c).
 *
 * The document is the page passed. It goes to stamp as it is, and comes back from there with the stamp in it.
 *
 * Bug: stamp keeps a document that it does not like, and the notary does not look at what came back: it goes on to
 * write into a document that is another enclave's.
 *
 * fuzz: --as server --server stamp=stamp.c
 * finds: given-away
 */
#include <errno.h>
#include <stdint.h>

#include "eapp.h"

enum order { DIGEST = 1, STAMP = 2 };

struct document {
    uint32_t order;
    uint32_t size; /* of the text */
    uint64_t digest;
    uint64_t stamp; /* stamp writes it */
    uint64_t stamps;
    unsigned char text[];
};

static uint64_t digest(const unsigned char *text, size_t size)
{
    uint64_t value = 0xcbf29ce484222325;

    for (size_t i = 0; i < size; i++)
        value = (value ^ text[i]) * 0x100000001b3;
    return value;
}

static __attribute__((noinline)) long have_stamped(struct call_enclave_arg_t *ret)
{
    struct document *document = (struct document *)ret->req_vaddr;
    long handle = acquire_enclave("stamp");
    struct call_enclave_arg_t call = {.req_vaddr = ret->req_vaddr, .req_size = ret->req_size};

    if (handle == -1 || call_enclave((unsigned long)handle, &call) != 0)
        return -ENODEV; /* a call that fails moves no pages */
#ifdef FIXED
    ret->req_vaddr = call.req_vaddr;
    if (!call.req_vaddr)
        return -EIO;
    document = (struct document *)call.req_vaddr;
#endif
    document->stamps++;
    return (long)call.resp_val;
}

static long serve(struct call_enclave_arg_t *ret)
{
    struct document *document = (struct document *)ret->req_vaddr;

    if (document->size > ret->req_size - sizeof *document)
        return -EINVAL;
    switch (document->order) {
    case DIGEST:
        document->digest = digest(document->text, document->size);
        return 0;
    case STAMP:
        document->digest = digest(document->text, document->size);
        return have_stamped(ret);
    default:
        return -ENOSYS;
    }
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t ret = {.resp_val = -EINVAL, .req_vaddr = args[11], .req_size = args[12]};

    if (ret.req_vaddr)
        ret.resp_val = serve(&ret);
    SERVER_RETURN(&ret);
}
