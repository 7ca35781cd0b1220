/* The server directory: says how large all files of a disk image are together.
 *
 * The memory passed has the image: a header, and entries that are linked by their offsets; offset 0 ends the list.
 * resp_val is the sum of their sizes, or an error number with a minus sign.
 *
 * Bug: a link may go backwards. A list that leads back to itself has no end.
 *
 * fuzz: --as server
 * finds: hang
 */
#include <errno.h>
#include <stdint.h>

#include "eapp.h"

#define MAGIC 0x31524944U /* "DIR1" */

struct image {
    uint32_t magic;
    uint32_t version; /* 1 */
    uint32_t first;
    uint32_t unused;
};

struct entry {
    uint32_t next;
    uint32_t size;
};

static __attribute__((noinline)) long total(const struct image *image, unsigned long size)
{
    uint32_t at = image->first;
    unsigned long sum = 0;

    while (at) {
        if (at < sizeof *image || at % 4 || at > size - sizeof(struct entry))
            return -EINVAL;

        const struct entry *entry = (const struct entry *)((const char *)image + at);

#ifdef FIXED
        if (entry->next && entry->next <= at)
            return -EINVAL;
#endif
        sum += entry->size;
        at = entry->next;
    }
    return (long)sum;
}

static long serve(const struct image *image, unsigned long size)
{
    if (image->magic != MAGIC)
        return -EINVAL;
    if (image->version != 1)
        return -ENOSYS;
    return total(image, size);
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    const struct image *image = (const struct image *)args[11];
    struct call_enclave_arg_t ret = {.resp_val = -EINVAL, .req_vaddr = args[11], .req_size = args[12]};

    if (image)
        ret.resp_val = serve(image, args[12]);
    SERVER_RETURN(&ret);
}
