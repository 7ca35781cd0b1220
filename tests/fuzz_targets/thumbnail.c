/* Gives the brightness of a small image that is in memory shared with the host.
 *
 * The host can change the image at any time. So each field is read once, checked, and the copy is used.
 *
 * Bug: the number of pixels is checked, and read again when the pixels are copied to the stack. A host that makes it
 * larger between the two (the palette is checked then) overwrites the stack.
 *
 * fuzz: --as enclave --channel shm
 * finds: fault, pointer
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "eapp.h"

#define TYPE 0x424d4854U /* "THMB" */
#define COLOURS 48
#define MOST_PIXELS 256

struct image {
    uint32_t size; /* in pixels */
    uint32_t type;
    uint32_t depth; /* bits of a pixel: 8 */
    uint32_t background;
    uint32_t palette[COLOURS]; /* 0xRRGGBB */
    unsigned char pixels[];
};

static __attribute__((noinline)) bool is_good(const volatile uint32_t *palette)
{
    for (int i = 0; i < COLOURS; i++)
        if (palette[i] > 0xffffff)
            return false;
    return true;
}

static __attribute__((noinline)) long brightness(const volatile struct image *image, size_t room)
{
    unsigned char pixels[MOST_PIXELS];
    uint32_t size = image->size;
    unsigned long sum = 0;

    if (size == 0 || size > MOST_PIXELS || size > room)
        return -EINVAL;
    if (!is_good(image->palette))
        return -EINVAL;
#ifndef FIXED
    size = image->size;
#endif
    memcpy(pixels, (const void *)image->pixels, size);
    for (uint32_t i = 0; i < size; i++)
        sum += pixels[i];
    return (long)(sum / size);
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    const volatile struct image *image = (const volatile struct image *)args[10];
    unsigned long size = args[11];

    if (!image || size < sizeof *image)
        EAPP_RETURN(-EINVAL);
    if (image->type != TYPE || image->depth != 8)
        EAPP_RETURN(-EINVAL);
    EAPP_RETURN(brightness(image, size - sizeof *image));
}
