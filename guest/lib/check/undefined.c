/* The compiler's checks for undefined behaviour: prints the error, with file and line, and stops the enclave. */
#include <stdarg.h>
#include <stdio.h>

#include "check.h"

struct place {
    const char *file;
    uint32_t line, column;
};

struct type {
    uint16_t kind; /* 0: an integer */
    uint16_t info; /* of an integer: signedness, and log2 of its bits */
    char name[];
};

static void __attribute__((noreturn, format(printf, 3, 4))) fail(struct caller caller, const struct place *place,
                                                                const char *text, ...)
{
    va_list args;
    uintptr_t calls[CALLS];

    reporting = true;
    printf("%s:%u:%u: undefined behaviour: ", place->file ? base_name(place->file) : "?", place->line, place->column);
    va_start(args, text);
    vprintf(text, args);
    va_end(args);
    printf("\n");
    walk_calls(calls, caller);
    print_calls("", calls);
    fflush(stdout);
    undefined_behaviour(caller.pc, caller.sp, caller.frame);
}

/* A value as the compiler passes it: itself, or where it is. */
static const char *shown(const struct type *type, uintptr_t value, char *text)
{
    unsigned bits = 1U << (type->info >> 1), unused = 64 - bits;

    if (type->kind != 0 || bits > 64)
        snprintf(text, 24, "a value");
    else if (type->info & 1)
        snprintf(text, 24, "%ld", (long)(value << unused) >> unused);
    else
        snprintf(text, 24, "%lu", value << unused >> unused);
    return text;
}

struct overflow {
    struct place place;
    const struct type *type;
};

#define OVERFLOW(what, sign)                                                                                \
    void __ubsan_handle_##what##_overflow_abort(const struct overflow *of, uintptr_t a, uintptr_t b)        \
    {                                                                                                       \
        char left[24], right[24];                                                                           \
        fail(CALLER, &of->place, "%s " sign " %s does not fit into %s", shown(of->type, a, left),           \
             shown(of->type, b, right), of->type->name);                                                    \
    }

OVERFLOW(add, "+")
OVERFLOW(sub, "-")
OVERFLOW(mul, "*")
OVERFLOW(divrem, "/")

void __ubsan_handle_negate_overflow_abort(const struct overflow *of, uintptr_t value)
{
    char text[24];
    fail(CALLER, &of->place, "-(%s) does not fit into %s", shown(of->type, value, text), of->type->name);
}

struct two_types {
    struct place place;
    const struct type *left, *right;
};

void __ubsan_handle_shift_out_of_bounds_abort(const struct two_types *of, uintptr_t value, uintptr_t by)
{
    char left[24], right[24];
    fail(CALLER, &of->place, "%s of %s is shifted by %s", shown(of->left, value, left), of->left->name,
         shown(of->right, by, right));
}

void __ubsan_handle_out_of_bounds_abort(const struct two_types *of, uintptr_t index)
{
    char text[24];
    fail(CALLER, &of->place, "index %s is out of bounds of %s", shown(of->right, index, text), of->left->name);
}

struct mismatch {
    struct place place;
    const struct type *type;
    unsigned char alignment; /* its logarithm */
    unsigned char kind;
};

void __ubsan_handle_type_mismatch_v1_abort(const struct mismatch *of, uintptr_t pointer)
{
    static const char *const actions[] = {"read", "write", "reference", "member", "call", "object", "cast", "cast",
                                          "cast", "cast", "write", "cast"};
    const char *action = of->kind < sizeof actions / sizeof *actions ? actions[of->kind] : "use";

    if (!pointer)
        fail(CALLER, &of->place, "%s through a null pointer to %s", action, of->type->name);
    if (pointer & ((1UL << of->alignment) - 1))
        fail(CALLER, &of->place, "%s of %s at %#lx, which is not aligned to %lu bytes", action, of->type->name,
             (unsigned long)pointer, 1UL << of->alignment);
    fail(CALLER, &of->place, "%s at %#lx, where there is no room for %s", action, (unsigned long)pointer,
         of->type->name);
}

void __ubsan_handle_pointer_overflow_abort(const struct place *place, uintptr_t base, uintptr_t result)
{
    fail(CALLER, place, "a pointer goes from %#lx to %#lx", (unsigned long)base, (unsigned long)result);
}

void __ubsan_handle_load_invalid_value_abort(const struct overflow *of, uintptr_t value)
{
    char text[24];
    fail(CALLER, &of->place, "%s is no value of %s", shown(of->type, value, text), of->type->name);
}

void __ubsan_handle_vla_bound_not_positive_abort(const struct overflow *of, uintptr_t bound)
{
    char text[24];
    fail(CALLER, &of->place, "an array of %s elements", shown(of->type, bound, text));
}

void __ubsan_handle_nonnull_return_v1_abort(const void *of, const struct place *place)
{
    (void)of;
    fail(CALLER, place, "%s", "a function returns NULL that must not");
}

#define PLAIN(what, text)                                                                                   \
    void __ubsan_handle_##what(const struct place *place)                                                   \
    {                                                                                                       \
        fail(CALLER, place, "%s", text);                                                                    \
    }

PLAIN(builtin_unreachable, "a place is reached that cannot be")
PLAIN(missing_return, "the end of a function is reached without a value")
PLAIN(float_cast_overflow_abort, "a floating point number does not fit")
PLAIN(nonnull_arg_abort, "NULL for an argument that must not be")
PLAIN(invalid_builtin_abort, "a builtin function gets 0")
PLAIN(alignment_assumption_abort, "a pointer is not aligned as promised")
PLAIN(implicit_conversion_abort, "a conversion changes the value")
