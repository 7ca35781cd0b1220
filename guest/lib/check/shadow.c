/* The shadow: where it is, what is poisoned, and the calls that the compiler puts before each access. */
#include <string.h>

#include "check.h"
#include "eapp.h"

#define STACK_SIZE (256UL << 10) /* of the stack that has a shadow: from its top */
#define IMAGE_SIZE (512UL << 10) /* from 0, that needs no memory of the host for its shadow: an ocall is slow */
#define STACK_START (EAPP_STACK_TOP - STACK_SIZE)
#define OFFSET 0x2000000000UL /* -asan-mapping-offset: where the compiler believes the shadow to be */

extern char _end[]; /* of the image, which starts at 0 */

bool reporting;

static unsigned char for_small_images[IMAGE_SIZE / GRANULE], stack_shadow[STACK_SIZE / GRANULE];
static unsigned char *image_shadow = for_small_images;
static bool begun;

void begin_checks(void)
{
    if (begun)
        return;
    begun = true;
    if ((uintptr_t)_end > IMAGE_SIZE)
        image_shadow = eapp_mmap(NULL, ((uintptr_t)_end / GRANULE + PAGE_SIZE) & -PAGE_SIZE);
    for (const struct global *one = __start_asan_globals; one != __stop_asan_globals; one++) {
        size_t whole = (one->size + GRANULE - 1) & -(size_t)GRANULE;

        poison(one->start + whole, one->size_with_gap - whole, GLOBAL_GAP);
        unpoison(one->start, one->size);
    }
}

unsigned char *shadow_of(uintptr_t address)
{
    if (address < (uintptr_t)_end)
        return image_shadow ? image_shadow + address / GRANULE : NULL;
    if (address - STACK_START < STACK_SIZE)
        return stack_shadow + (address - STACK_START) / GRANULE;
    for (struct arena *arena = arenas; arena; arena = arena->next)
        if (address - arena->start < arena->end - arena->start)
            return arena->shadow + (address - arena->start) / GRANULE;
    return NULL;
}

static void set(unsigned char *shadow, size_t size, unsigned char kind)
{
    if (!shadow)
        return;
    for (; size && (uintptr_t)shadow % sizeof(uint64_t); size--)
        *shadow++ = kind;
    for (; size >= sizeof(uint64_t); size -= sizeof(uint64_t), shadow += sizeof(uint64_t))
        *(uint64_t *)shadow = kind * 0x0101010101010101UL;
    while (size--)
        *shadow++ = kind;
}

void poison(uintptr_t start, size_t size, unsigned char kind)
{
    set(shadow_of(start), (size + GRANULE - 1) / GRANULE, kind);
}

void unpoison(uintptr_t start, size_t size)
{
    unsigned char *shadow = shadow_of(start);

    set(shadow, size / GRANULE, 0);
    if (shadow && size % GRANULE)
        shadow[size / GRANULE] = (unsigned char)(size % GRANULE);
}

static bool is_bad(uintptr_t address, unsigned char shadow)
{
    return shadow && (signed char)(address % GRANULE) >= (signed char)shadow;
}

uintptr_t bad_byte(uintptr_t start, size_t size)
{
    unsigned char *shadow = shadow_of(start);

    for (uintptr_t at = start; shadow && at < start + size; at = (at | (GRANULE - 1)) + 1, shadow++) {
        uintptr_t last = at | (GRANULE - 1);

        if (last >= start + size)
            last = start + size - 1;
        if (is_bad(last, *shadow)) {
            while (!is_bad(at, *shadow))
                at++;
            return at;
        }
        if (last + 1 < start + size && !shadow_of(last + 1))
            break;
    }
    return 0;
}

void check_range(uintptr_t start, size_t size, bool is_write, struct caller caller)
{
    if (!begun)
        begin_checks();
    if (reporting || size == 0)
        return;

    uintptr_t bad = bad_byte(start, size);

    if (bad)
        report_access(start, size, bad, is_write, caller);
}

/* The most common accesses: the common case is one look. */
#define ACCESSES(size)                                                                                      \
    void __asan_load##size(uintptr_t address)                                                               \
    {                                                                                                       \
        check_range(address, size, false, CALLER);                                                          \
    }                                                                                                       \
    void __asan_store##size(uintptr_t address)                                                              \
    {                                                                                                       \
        check_range(address, size, true, CALLER);                                                           \
    }

ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)

void __asan_loadN(uintptr_t address, size_t size)
{
    check_range(address, size, false, CALLER);
}

void __asan_storeN(uintptr_t address, size_t size)
{
    check_range(address, size, true, CALLER);
}

void *__asan_memcpy(void *to, const void *from, size_t size)
{
    check_range((uintptr_t)from, size, false, CALLER);
    check_range((uintptr_t)to, size, true, CALLER);
    return memcpy(to, from, size);
}

void *__asan_memmove(void *to, const void *from, size_t size)
{
    check_range((uintptr_t)from, size, false, CALLER);
    check_range((uintptr_t)to, size, true, CALLER);
    return memmove(to, from, size);
}

void *__asan_memset(void *memory, int value, size_t size)
{
    check_range((uintptr_t)memory, size, true, CALLER);
    return memset(memory, value, size);
}

/* The stack: the compiler says which bytes of shadow it means by where it believes them to be. */
#define SETTERS(kind)                                                                                       \
    void __asan_set_shadow_##kind(uintptr_t shadow, size_t size)                                            \
    {                                                                                                       \
        begin_checks();                                                                                     \
        set(shadow_of((shadow - OFFSET) * GRANULE), size, 0x##kind);                                        \
    }

SETTERS(00)
SETTERS(01)
SETTERS(02)
SETTERS(03)
SETTERS(04)
SETTERS(05)
SETTERS(06)
SETTERS(07)
SETTERS(f1)
SETTERS(f2)
SETTERS(f3)
SETTERS(f5)
SETTERS(f8)

void __asan_poison_stack_memory(uintptr_t start, size_t size)
{
    poison(start, size, STACK_AFTER_SCOPE);
}

void __asan_unpoison_stack_memory(uintptr_t start, size_t size)
{
    unpoison(start, size);
}

#define ALLOCA_GAP 32

void __asan_alloca_poison(uintptr_t start, size_t size)
{
    uintptr_t gap = (start + size + ALLOCA_GAP - 1) & -(uintptr_t)ALLOCA_GAP;

    poison(start - ALLOCA_GAP, ALLOCA_GAP, ALLOCA_LEFT);
    unpoison(start, size);
    poison((start + size + GRANULE - 1) & -(uintptr_t)GRANULE, gap + ALLOCA_GAP - start - size, ALLOCA_RIGHT);
}

void __asan_allocas_unpoison(uintptr_t top, uintptr_t bottom)
{
    if (top && top <= bottom)
        unpoison(top, bottom - top);
}

/* libc++ reports a vector: its elements end at `now`, and its memory at `end`. */
void __sanitizer_annotate_contiguous_container(uintptr_t start, uintptr_t end, uintptr_t before, uintptr_t now)
{
    uintptr_t rest = (now + GRANULE - 1) & -(uintptr_t)GRANULE;

    (void)before;
    if (start % GRANULE)
        return;
    unpoison(start, now - start);
    if (rest < end)
        poison(rest, end - rest, CONTAINER_REST);
}

/* And a deque, of a piece of its memory: its elements begin at `first`. What lies before them in the same 8 bytes is
 * not poisoned, as a byte of shadow cannot say that. */
void __sanitizer_annotate_double_ended_contiguous_container(
    uintptr_t start, uintptr_t end, uintptr_t first_before, uintptr_t before, uintptr_t first, uintptr_t now)
{
    uintptr_t whole = first & -(uintptr_t)GRANULE;

    (void)first_before;
    if (start % GRANULE)
        return;
    if (first == now)
        whole = now = start;
    poison(start, whole - start, CONTAINER_REST);
    __sanitizer_annotate_contiguous_container(whole, end, before, now);
}

void __asan_before_dynamic_init(const char *module)
{
    (void)module;
}

void __asan_after_dynamic_init(void)
{
}
