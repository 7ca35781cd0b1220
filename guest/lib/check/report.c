/* The report of an error, printed before the enclave stops.
 *
 *     heap-use-after-free: read of 4 bytes at 0x2fffe01060
 *       in last at list.c:31
 *       0 bytes into a block of 40 bytes
 *       freed in drop at list.c:22 < main at list.c:40
 *       allocated in make at list.c:9 < main at list.c:38
 *
 * The names are in a table that the build adds: of each call's return address.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "print.h"

#define FRAME_MAGIC 0x41b58ab3UL
#define RETURNED 0x45e0360eUL /* in the place of it */

struct name {
    uintptr_t pc;
    const char *text;
};

extern const struct name __check_names[] __attribute__((weak));
extern const struct name __check_names_end[] __attribute__((weak));

static void print_call(uintptr_t pc)
{
    for (const struct name *one = __check_names; one != __check_names_end; one++)
        if (one->pc == pc) {
            printf("%s", one->text);
            return;
        }
    printf("%#lx", (unsigned long)pc);
}

void print_calls(const char *what, const uintptr_t *calls)
{
    if (!calls[0])
        return;
    printf("  %sin ", what);
    for (int i = 0; i < CALLS && calls[i]; i++) {
        printf("%s", i ? " < " : "");
        print_call(calls[i]);
    }
    printf("\n");
}

static void print_block(uintptr_t bad)
{
    struct block *block = block_near(bad);

    /* Before a block are its header and the gap of the block before: an access there more likely meant the latter. */
    if (!block || block->state == BLOCK_FREE || block->state == BLOCK_OF_FRAMES)
        return;

    uintptr_t start = (uintptr_t)(block + 1);

    if (bad < start)
        printf("  %lu bytes before a block of %zu bytes\n", (unsigned long)(start - bad), block->size);
    else if (bad < start + block->size)
        printf("  %lu bytes into a block of %zu bytes\n", (unsigned long)(bad - start), block->size);
    else
        printf("  %lu bytes behind a block of %zu bytes\n", (unsigned long)(bad - start - block->size), block->size);
    print_calls("freed ", block->freed);
    print_calls("allocated ", block->allocated);
}

const char *base_name(const char *file)
{
    const char *slash = strrchr(file, '/');

    return slash ? slash + 1 : file;
}

static void print_global(uintptr_t bad)
{
    for (const struct global *one = __start_asan_globals; one != __stop_asan_globals; one++)
        if (bad - one->start < one->size_with_gap)
            printf("  %lu bytes behind the global %s of %zu bytes, in %s\n",
                   (unsigned long)(bad - one->start - one->size), one->name, one->size, base_name(one->file));
}

static unsigned long number(const char **at)
{
    unsigned long value = 0;

    for (; **at >= '0' && **at <= '9'; ++*at)
        value = value * 10 + (unsigned long)(**at - '0');
    while (**at == ' ')
        ++*at;
    return value;
}

/* The frame begins with a magic number and "count, then offset size length name:line for each variable". */
static void print_frame(uintptr_t bad)
{
    const uintptr_t *frame = (const uintptr_t *)frame_near(bad);

    for (uintptr_t at = bad & -32UL; !frame && at >= (uintptr_t)__builtin_frame_address(0) && bad - at < 65536;
         at -= 32)
        if (*(const uintptr_t *)at == FRAME_MAGIC)
            frame = (const uintptr_t *)at;
    if (!frame || (frame[0] != FRAME_MAGIC && frame[0] != RETURNED))
        return;

    const char *at = (const char *)frame[1], *name = NULL, *where = NULL;
    unsigned long offset = bad - (uintptr_t)frame, size = 0;
    int length = 0;

    for (unsigned long left = number(&at); left > 0; left--) {
        unsigned long start = number(&at), bytes = number(&at), letters = number(&at);
        bool in_it = start <= offset && offset < start + bytes;

        if (in_it || (!where && start <= offset + 32 && offset < start + bytes + 32)) {
            where = in_it ? "in" : offset < start ? "before" : "behind";
            name = at;
            length = (int)letters;
            size = bytes;
        }
        at += letters;
        while (*at == ' ')
            at++;
    }
    if (where)
        printf("  %s the variable %.*s of %lu bytes (name:line)\n", where, length, name, size);
}

static void title(const char *what, uintptr_t address, size_t size, bool is_write, struct caller caller)
{
    uintptr_t calls[CALLS];

    printf("%s: %s of %zu bytes at %#lx\n", what, is_write ? "write" : "read", size, (unsigned long)address);
    walk_calls(calls, caller);
    print_calls("", calls);
}

void report_access(uintptr_t address, size_t size, uintptr_t bad, bool is_write, struct caller caller)
{
    unsigned char *shadow = shadow_of(bad);
    unsigned char kind = *shadow;

    reporting = true;
    if (kind < GRANULE) /* the end of something: what follows says of what */
        kind = shadow[1];

    void (*stop)(uintptr_t, uintptr_t, uintptr_t) __attribute__((noreturn)) = memory_not_for_use;
    const char *what = "memory-not-for-use";

    switch (kind) {
    case HEAP_GAP: what = "heap-buffer-overflow"; stop = heap_buffer_overflow; break;
    case HEAP_FREED: what = "heap-use-after-free"; stop = heap_use_after_free; break;
    case GLOBAL_GAP: what = "global-buffer-overflow"; stop = global_buffer_overflow; break;
    case CONTAINER_REST: what = "container-overflow"; stop = container_overflow; break;
    case STACK_AFTER_RETURN: what = "stack-use-after-return"; stop = stack_use_after_return; break;
    case STACK_AFTER_SCOPE: what = "stack-use-after-scope"; stop = stack_use_after_scope; break;
    default:
        if ((STACK_LEFT <= kind && kind <= STACK_RIGHT) || kind == ALLOCA_LEFT || kind == ALLOCA_RIGHT) {
            what = "stack-buffer-overflow";
            stop = stack_buffer_overflow;
        }
    }
    title(what, address, size, is_write, caller);
    if (kind == HEAP_GAP || kind == HEAP_FREED || kind == CONTAINER_REST)
        print_block(bad);
    else if (kind == GLOBAL_GAP)
        print_global(bad);
    else
        print_frame(bad);
    fflush(stdout);
    stop(caller.pc, caller.sp, caller.frame);
}

void report_free(void *memory, struct block *block, struct caller caller)
{
    uintptr_t calls[CALLS];
    bool twice = block && memory == block + 1 && block->state == BLOCK_QUARANTINED;

    reporting = true;
    printf("%s: %p\n", twice ? "double-free" : "bad-free", memory);
    walk_calls(calls, caller);
    print_calls("", calls);
    print_block((uintptr_t)memory);
    fflush(stdout);
    if (twice)
        freed_twice(caller.pc, caller.sp, caller.frame);
    bad_free(caller.pc, caller.sp, caller.frame);
}
