/* new and delete of types that want more alignment than malloc gives; also of all containers at -O0.
 *
 *     malloc's block:  | ... | its address | object, aligned ... |
 *
 * delete gets the alignment as new did, so both know whether that address is there.
 */
#include <stdint.h>
#include <stdlib.h>

#define ENOUGH 16 /* the alignment of malloc */

void *operator_new(size_t size) __asm__("_Znwm");
void *operator_new_nothrow(size_t size, const void *tag) __asm__("_ZnwmRKSt9nothrow_t");

void *aligned_new(size_t size, size_t alignment) __asm__("_ZnwmSt11align_val_t");
void *aligned_new_array(size_t size, size_t alignment) __asm__("_ZnamSt11align_val_t");
void *aligned_new_nothrow(size_t size, size_t alignment, const void *tag)
    __asm__("_ZnwmSt11align_val_tRKSt9nothrow_t");
void *aligned_new_array_nothrow(size_t size, size_t alignment, const void *tag)
    __asm__("_ZnamSt11align_val_tRKSt9nothrow_t");
void aligned_delete(void *memory, size_t alignment) __asm__("_ZdlPvSt11align_val_t");
void aligned_delete_array(void *memory, size_t alignment) __asm__("_ZdaPvSt11align_val_t");
void aligned_delete_sized(void *memory, size_t size, size_t alignment) __asm__("_ZdlPvmSt11align_val_t");
void aligned_delete_array_sized(void *memory, size_t size, size_t alignment) __asm__("_ZdaPvmSt11align_val_t");

static size_t with_room(size_t size, size_t alignment)
{
    size_t whole;

    if (alignment <= ENOUGH)
        return size;
    return __builtin_add_overflow(size, sizeof(void *) + alignment - 1, &whole) ? SIZE_MAX : whole;
}

static void *aligned(void *block, size_t alignment)
{
    if (alignment <= ENOUGH || !block)
        return block;

    void **object = (void **)(((uintptr_t)block + sizeof(void *) + alignment - 1) & -alignment);

    object[-1] = block;
    return object;
}

void *aligned_new(size_t size, size_t alignment)
{
    return aligned(operator_new(with_room(size, alignment)), alignment);
}

void *aligned_new_array(size_t size, size_t alignment)
{
    return aligned_new(size, alignment);
}

void *aligned_new_nothrow(size_t size, size_t alignment, const void *tag)
{
    return aligned(operator_new_nothrow(with_room(size, alignment), tag), alignment);
}

void *aligned_new_array_nothrow(size_t size, size_t alignment, const void *tag)
{
    return aligned_new_nothrow(size, alignment, tag);
}

void aligned_delete(void *memory, size_t alignment)
{
    free(alignment <= ENOUGH || !memory ? memory : ((void **)memory)[-1]);
}

void aligned_delete_array(void *memory, size_t alignment)
{
    aligned_delete(memory, alignment);
}

void aligned_delete_sized(void *memory, size_t size, size_t alignment)
{
    (void)size;
    aligned_delete(memory, alignment);
}

void aligned_delete_array_sized(void *memory, size_t size, size_t alignment)
{
    (void)size;
    aligned_delete(memory, alignment);
}
