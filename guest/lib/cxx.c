/* Functions that C++ compilers call: new and delete, destructors of statics, and statics inside functions.
 *
 * The names are those of the Itanium C++ ABI. There are no exceptions: new without memory ends the enclave, and
 * new (std::nothrow) gives NULL.
 */
#include <stdio.h>
#include <stdlib.h>

#include "lock.h"

void *operator_new(size_t size) __asm__("_Znwm");
void *operator_new_array(size_t size) __asm__("_Znam");
void *operator_new_nothrow(size_t size, const void *tag) __asm__("_ZnwmRKSt9nothrow_t");
void *operator_new_array_nothrow(size_t size, const void *tag) __asm__("_ZnamRKSt9nothrow_t");
void operator_delete(void *memory) __asm__("_ZdlPv");
void operator_delete_array(void *memory) __asm__("_ZdaPv");
void operator_delete_sized(void *memory, size_t size) __asm__("_ZdlPvm");
void operator_delete_array_sized(void *memory, size_t size) __asm__("_ZdaPvm");

const char nothrow __asm__("_ZSt7nothrow");
void *__dso_handle;

void *operator_new(size_t size)
{
    void *memory = malloc(size ? size : 1);

    if (!memory) {
        printf("operator new: no memory for %zu bytes\n", size);
        abort();
    }
    return memory;
}

void *operator_new_array(size_t size)
{
    return operator_new(size);
}

void *operator_new_nothrow(size_t size, const void *tag)
{
    (void)tag;
    return malloc(size ? size : 1);
}

void *operator_new_array_nothrow(size_t size, const void *tag)
{
    return operator_new_nothrow(size, tag);
}

void operator_delete(void *memory)
{
    free(memory);
}

void operator_delete_array(void *memory)
{
    free(memory);
}

void operator_delete_sized(void *memory, size_t size)
{
    (void)size;
    free(memory);
}

void operator_delete_array_sized(void *memory, size_t size)
{
    (void)size;
    free(memory);
}

void __cxa_pure_virtual(void)
{
    printf("a pure virtual function was called\n");
    abort();
}

/* Destructors run last first, each at the turn of its atexit. When atexit takes no more, also from others, the
 * further ones run with the last that got a turn.
 */
struct destructor {
    void (*function)(void *object);
    void *object;
    struct destructor *before;
    int has_turn;
};

static struct destructor *last;

static void run_destructors(void)
{
    int done = 0;

    while (last && !done) {
        struct destructor *one = last;

        last = one->before;
        done = one->has_turn;
        one->function(one->object);
        free(one);
    }
}

int __cxa_atexit(void (*function)(void *object), void *object, void *library)
{
    struct destructor *one = malloc(sizeof *one);

    (void)library;
    if (!one)
        return -1;
    *one = (struct destructor){function, object, last, atexit(run_destructors) == 0};
    last = one;
    return 0;
}

/* Of a variable of the thread. An enclave is one thread, which ends with it. With threads.h each call has variables of
 * its own on the stack of its slot, which is gone when the enclave ends: their destructors do not run. */
int __cxa_thread_atexit(void (*function)(void *object), void *object, void *library)
{
    return has_slots() ? 0 : __cxa_atexit(function, object, library);
}

/* A static inside a function: the first byte of its guard says that it is made. While it is made the SDK's lock is
 * taken: slots of a concurrent server wait for one another. */
int __cxa_guard_acquire(unsigned char *guard)
{
    __eapp_take_lock();
    if (guard[0]) {
        __eapp_give_lock(NULL);
        return 0;
    }
    if (guard[1]) {
        printf("a static of a function needs itself to be made\n");
        abort();
    }
    guard[1] = 1;
    return 1;
}

void __cxa_guard_release(unsigned char *guard)
{
    guard[0] = 1;
    __eapp_give_lock(NULL);
}

void __cxa_guard_abort(unsigned char *guard)
{
    guard[1] = 0;
    __eapp_give_lock(NULL);
}
