/* printf's format language, character by character into a sink.
 *
 *     %[-+ 0#][width|*][.precision|.*][hh h l ll z j t](d i u x X o c s p %)
 *
 * No floating point: enclaves are built without an FPU. An unknown conversion is printed as it stands.
 */
#include "format.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct output {
    void (*put)(void *sink, char c);
    void *sink;
    int count;
};

struct spec {
    bool left, plus, space, zero, alternate;
    int width;
    int precision; /* -1: not given */
    int size;      /* bytes of an integer argument */
};

static void emit(struct output *out, char c)
{
    out->put(out->sink, c);
    out->count++;
}

static void emit_times(struct output *out, char c, int times)
{
    while (times-- > 0)
        emit(out, c);
}

static void emit_bytes(struct output *out, const char *bytes, int size)
{
    while (size-- > 0)
        emit(out, *bytes++);
}

static void emit_text(struct output *out, const struct spec *spec, const char *text, int size)
{
    if (!spec->left)
        emit_times(out, ' ', spec->width - size);
    emit_bytes(out, text, size);
    if (spec->left)
        emit_times(out, ' ', spec->width - size);
}

/* [spaces] prefix [zeros] digits [spaces] */
static void emit_number(struct output *out, const struct spec *spec, uint64_t value, unsigned base, bool upper,
                        const char *prefix)
{
    const char *symbols = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    char digits[22]; /* 2^64 has 22 octal digits */
    int start = sizeof digits;

    for (; value; value /= base)
        digits[--start] = symbols[value % base];

    int size = (int)sizeof digits - start;
    int prefix_size = (int)strlen(prefix);
    int zeros = (spec->precision < 0 ? 1 : spec->precision) - size;

    if (spec->zero && !spec->left && spec->precision < 0 && spec->width - prefix_size - size > zeros)
        zeros = spec->width - prefix_size - size;
    if (zeros < 0)
        zeros = 0;
    if (base == 8 && spec->alternate && zeros == 0)
        zeros = 1;

    int padding = spec->width - prefix_size - zeros - size;

    if (!spec->left)
        emit_times(out, ' ', padding);
    emit_bytes(out, prefix, prefix_size);
    emit_times(out, '0', zeros);
    emit_bytes(out, digits + start, size);
    if (spec->left)
        emit_times(out, ' ', padding);
}

static void emit_signed(struct output *out, const struct spec *spec, int64_t value)
{
    const char *sign = value < 0 ? "-" : spec->plus ? "+" : spec->space ? " " : "";
    emit_number(out, spec, value < 0 ? -(uint64_t)value : (uint64_t)value, 10, false, sign);
}

static const char *read_flags(const char *at, struct spec *spec)
{
    for (;; at++) {
        switch (*at) {
        case '-': spec->left = true; break;
        case '+': spec->plus = true; break;
        case ' ': spec->space = true; break;
        case '0': spec->zero = true; break;
        case '#': spec->alternate = true; break;
        default: return at;
        }
    }
}

static const char *read_number(const char *at, int *number)
{
    for (*number = 0; *at >= '0' && *at <= '9'; at++)
        if (*number < 100000)
            *number = *number * 10 + (*at - '0');
    return at;
}

static const char *read_size(const char *at, struct spec *spec)
{
    spec->size = sizeof(int);
    switch (*at) {
    case 'h':
        spec->size = at[1] == 'h' ? sizeof(char) : sizeof(short);
        return at + (at[1] == 'h' ? 2 : 1);
    case 'l':
        spec->size = sizeof(long);
        return at + (at[1] == 'l' ? 2 : 1);
    case 'z':
    case 'j':
    case 't':
        spec->size = sizeof(long);
        return at + 1;
    default:
        return at;
    }
}

static int64_t sign_extended(uint64_t value, int size)
{
    int unused = 64 - 8 * size;
    return (int64_t)(value << unused) >> unused;
}

static uint64_t zero_extended(uint64_t value, int size)
{
    int unused = 64 - 8 * size;
    return value << unused >> unused;
}

int format(void (*put)(void *sink, char c), void *sink, const char *text, va_list args)
{
    struct output out = {put, sink, 0};

    for (const char *at = text; *at; at++) {
        if (*at != '%') {
            emit(&out, *at);
            continue;
        }

        const char *start = at;
        struct spec spec = {.precision = -1};

        at = read_flags(at + 1, &spec);
        if (*at == '*') {
            spec.width = va_arg(args, int);
            if (spec.width < 0) {
                spec.left = true;
                spec.width = -spec.width;
            }
            at++;
        } else {
            at = read_number(at, &spec.width);
        }
        if (*at == '.' && at[1] == '*') {
            spec.precision = va_arg(args, int);
            at += 2;
        } else if (*at == '.') {
            at = read_number(at + 1, &spec.precision);
        }
        at = read_size(at, &spec);

        switch (*at) {
        case 'd':
        case 'i':
            /* An integer argument fills a 64-bit slot; what is above its size is cut off here. */
            emit_signed(&out, &spec, sign_extended(va_arg(args, uint64_t), spec.size));
            break;
        case 'u':
            emit_number(&out, &spec, zero_extended(va_arg(args, uint64_t), spec.size), 10, false, "");
            break;
        case 'o':
            emit_number(&out, &spec, zero_extended(va_arg(args, uint64_t), spec.size), 8, false, "");
            break;
        case 'x':
        case 'X': {
            uint64_t value = zero_extended(va_arg(args, uint64_t), spec.size);
            const char *prefix = !spec.alternate || !value ? "" : *at == 'x' ? "0x" : "0X";
            emit_number(&out, &spec, value, 16, *at == 'X', prefix);
            break;
        }
        case 'p':
            emit_number(&out, &spec, va_arg(args, uint64_t), 16, false, "0x");
            break;
        case 'c': {
            char c = (char)va_arg(args, int);
            emit_text(&out, &spec, &c, 1);
            break;
        }
        case 's': {
            const char *string = va_arg(args, const char *);
            if (!string)
                string = "(null)";
            emit_text(&out, &spec, string,
                      (int)(spec.precision < 0 ? strlen(string) : strnlen(string, (size_t)spec.precision)));
            break;
        }
        case '%':
            emit(&out, '%');
            break;
        case '\0':
            emit_bytes(&out, start, (int)(at - start));
            return out.count;
        default:
            emit_bytes(&out, start, (int)(at - start) + 1);
        }
    }
    return out.count;
}
