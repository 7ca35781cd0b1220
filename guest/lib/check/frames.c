/* Frames of functions in heap memory, so that pointers into a frame that has returned are detected.
 *
 * The compiler asks for a frame of 64 << class bytes when a function begins. When it returns, its code poisons the frame
 * and sets the byte to 0 that the last word of the frame points to. Frames are used in turn, so each rests for a while.
 * Whoever leaves without returning (longjmp, the end of a server's call) leaves frames behind: they are found by lying
 * deeper on the stack than whoever runs.
 */
#include "check.h"

#define SIZES 11
#define AT_LEAST 16 /* frames of a size, before one is used again */

static struct frame *next_of[SIZES];
static int count_of[SIZES];
static bool left_some;

static void sweep(uintptr_t stack)
{
    left_some = false;
    for (int size = 0; size < SIZES; size++) {
        struct frame *frame = next_of[size];

        for (int i = 0; i < count_of[size]; i++, frame = frame->next)
            if (frame->stack <= stack)
                frame->in_use = 0;
    }
}

static struct frame *new_frame(int size)
{
    size_t bytes = 64UL << size;
    unsigned char *memory = take_for_frames(sizeof(struct frame) + bytes + 32);

    if (!memory)
        return NULL;

    struct frame *frame = (struct frame *)memory;

    frame->start = (unsigned char *)(((uintptr_t)(frame + 1) + 31) & -32UL);
    if (next_of[size]) {
        frame->next = next_of[size]->next;
        next_of[size]->next = frame;
    } else {
        frame->next = frame;
    }
    next_of[size] = frame;
    count_of[size]++;
    return frame;
}

static uintptr_t begin_frame(int size, uintptr_t stack)
{
    begin_checks();
    if (left_some)
        sweep(stack);

    struct frame *frame = next_of[size];

    for (int i = 0; i < count_of[size] && frame->in_use; i++)
        frame = frame->next;
    if (!frame || frame->in_use || count_of[size] < AT_LEAST)
        frame = new_frame(size);
    if (!frame)
        return 0; /* the compiler's code uses the stack then */
    next_of[size] = frame->next;
    frame->in_use = 1;
    frame->stack = stack;
    unpoison((uintptr_t)frame->start, 64UL << size);
    ((unsigned char **)(frame->start + (64UL << size)))[-1] = &frame->in_use;
    return (uintptr_t)frame->start;
}

#define FRAMES(size)                                                                                        \
    uintptr_t __asan_stack_malloc_always_##size(size_t bytes)                                               \
    {                                                                                                       \
        (void)bytes;                                                                                        \
        return begin_frame(size, (uintptr_t)__builtin_frame_address(0));                                    \
    }                                                                                                       \
    void __asan_stack_free_##size(uintptr_t frame, size_t bytes)                                            \
    {                                                                                                       \
        (void)bytes;                                                                                        \
        poison(frame, 64UL << size, STACK_AFTER_RETURN);                                                    \
        *((unsigned char **)(frame + (64UL << size)))[-1] = 0;                                              \
    }

FRAMES(0)
FRAMES(1)
FRAMES(2)
FRAMES(3)
FRAMES(4)
FRAMES(5)
FRAMES(6)
FRAMES(7)
FRAMES(8)
FRAMES(9)
FRAMES(10)

void __asan_handle_no_return(void)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);

    left_some = true;
    if (shadow_of(here)) /* nothing on the stack is known to be wrong any more */
        for (uintptr_t at = here & -(uintptr_t)GRANULE; shadow_of(at); at += GRANULE)
            *shadow_of(at) = 0;
}

const unsigned char *frame_near(uintptr_t address)
{
    for (int size = 0; size < SIZES; size++) {
        struct frame *frame = next_of[size];

        for (int i = 0; i < count_of[size]; i++, frame = frame->next)
            if (address - (uintptr_t)frame->start < 64UL << size)
                return frame->start;
    }
    return NULL;
}
