/* The memory checker's run-time support: declarations shared by the files of this folder.
 *
 * The compiler's address instrumentation calls __asan_loadN and __asan_storeN before each access. A byte of shadow says
 * of 8 bytes whether they may be used, as its documentation has it:
 *
 *     0        all of them                       1 ... 7   the first that many
 *     0xfa     beside a block of the heap        0xfd      in a block that was freed
 *     0xf9     beside a global variable          0xf1 0xf2 0xf3 0xca 0xcb   beside a variable on the stack
 *     0xfc     in the part of a container that has no elements
 *     0xf5     in the frame of a function that has returned    0xf8   in a variable whose scope was left
 *
 *     shadow.c   where the shadow of an address is, and the accesses    heap.c    malloc, with gaps and quarantine
 *     frames.c   frames that outlive their function                     report.c  the report of an error
 *     undefined.c   the checks for undefined behaviour                  stop.S    the end
 *
 * Memory outside the program's image, stack and heap has no shadow: every access to it is allowed.
 */
#ifndef PLTVM_CHECK_H
#define PLTVM_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GRANULE 8
#define HEAP_GAP 0xfa
#define HEAP_FREED 0xfd
#define CONTAINER_REST 0xfc
#define GLOBAL_GAP 0xf9
#define STACK_LEFT 0xf1
#define STACK_RIGHT 0xf3
#define STACK_AFTER_RETURN 0xf5
#define STACK_AFTER_SCOPE 0xf8
#define ALLOCA_LEFT 0xca
#define ALLOCA_RIGHT 0xcb

#define CALLS 4 /* that are kept of who allocated or freed something */

/* The caller of a check: the registers are set to these values before the enclave stops. */
struct caller {
    uintptr_t pc;
    uintptr_t sp;
    uintptr_t frame;
};

/* Of the function that called the one where this stands. A frame pointer is the stack pointer of the caller. */
#define CALLER \
    ((struct caller){(uintptr_t)__builtin_return_address(0), (uintptr_t)__builtin_frame_address(0), \
                     ((uintptr_t *)__builtin_frame_address(0))[-2]})

/* Before a block of the heap. The gap behind a block is the rest of it, at least GAP bytes. */
struct block {
    size_t total; /* bytes from here to the next block */
    size_t size;  /* that were asked for */
    struct block *next;
    size_t state;
    uintptr_t allocated[CALLS];
    uintptr_t freed[CALLS];
};

enum { BLOCK_FREE, BLOCK_USED = 0x75736564, BLOCK_QUARANTINED = 0x66726565, BLOCK_OF_FRAMES = 0x6672616d };

/* A piece of heap: this, the shadow of what follows, and blocks up to `used`. */
struct arena {
    struct arena *next;
    uintptr_t start, end, used;
    unsigned char *shadow;
};

/* As the compiler describes a global variable. */
struct global {
    uintptr_t start;
    size_t size;
    size_t size_with_gap;
    const char *name;
    const char *file;
    size_t is_dynamic;
    const void *location;
    uintptr_t indicator;
};

/* A frame of a function in memory of the heap. */
struct frame {
    struct frame *next; /* in a circle */
    uintptr_t stack;    /* where the function's own frame is */
    unsigned char *start;
    unsigned char in_use; /* the compiler's code sets it to 0 */
};

extern struct arena *arenas;
extern bool reporting; /* nothing is checked any more */
extern const struct global __start_asan_globals[], __stop_asan_globals[];

unsigned char *shadow_of(uintptr_t address);                              /* NULL: there is none */
void poison(uintptr_t start, size_t size, unsigned char kind);            /* whole granules */
void unpoison(uintptr_t start, size_t size);                              /* start is a granule's */
uintptr_t bad_byte(uintptr_t start, size_t size);                         /* the first, or 0 */
void check_range(uintptr_t start, size_t size, bool is_write, struct caller caller);
void begin_checks(void);

struct block *block_near(uintptr_t address); /* with its gap before it, or NULL */
void *take_for_frames(size_t size);
const unsigned char *frame_near(uintptr_t address); /* its start, or NULL */
void walk_calls(uintptr_t *calls, struct caller caller);

void report_access(uintptr_t address, size_t size, uintptr_t bad, bool is_write, struct caller caller)
    __attribute__((noreturn));
void report_free(void *memory, struct block *block, struct caller caller) __attribute__((noreturn));
void print_calls(const char *what, const uintptr_t *calls);
const char *base_name(const char *file); /* without its folder */

/* The ends: see stop.S. */
#define STOP(name) void name(uintptr_t pc, uintptr_t sp, uintptr_t frame) __attribute__((noreturn))
STOP(heap_buffer_overflow);
STOP(heap_use_after_free);
STOP(global_buffer_overflow);
STOP(stack_buffer_overflow);
STOP(stack_use_after_return);
STOP(stack_use_after_scope);
STOP(container_overflow);
STOP(memory_not_for_use);
STOP(freed_twice);
STOP(bad_free);
STOP(undefined_behaviour);

#endif
