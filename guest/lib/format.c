/* printf's format language, character by character into a sink.
 *
 *     %[-+ 0#][width|*][.precision|.*][hh h l ll z j t L](d i u x X o c s p a e f g A E F G %)
 *
 * Floating point is by far the largest part of a printf, and enclaves have no FPU. So it is included, from musl, in
 * programs with a format for it (PLTVM_FLOATS: pltvm/build/enclave.py). Without it, and for an unknown conversion, the
 * conversion is printed unchanged; its argument is consumed, so that the following arguments are right.
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
    int size;      /* bytes of an integer argument, or of a floating point number */
};

#define LONG_DOUBLE 16 /* behind L */

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
#ifdef PLTVM_FLOATS
    case 'L':
        spec->size = LONG_DOUBLE;
        return at + 1;
#endif
    default:
        return at;
    }
}

#ifdef PLTVM_FLOATS
int __print_float(void (*put)(void *sink, char c), void *sink, const char *text, ...);

static void emit_float(struct output *out, const struct spec *spec, char conversion, long double value)
{
    char text[16], *at = text;

    *at++ = '%';
    if (spec->plus)
        *at++ = '+';
    if (spec->space)
        *at++ = ' ';
    if (spec->zero)
        *at++ = '0';
    if (spec->alternate)
        *at++ = '#';
    memcpy(at, "*.*L", 4);
    at[4] = conversion;
    at[5] = '\0';
    out->count += __print_float(out->put, out->sink, text, spec->left ? -spec->width : spec->width, spec->precision,
                                value);
}
#endif

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
        case 'u':
        case 'o':
        case 'x':
        case 'X': {
            /* An argument is an int or a long: what is shorter was made an int by the caller, and is cut off again. */
            uint64_t value = spec.size == sizeof(long) ? va_arg(args, unsigned long) : va_arg(args, unsigned);
            int unused = 64 - 8 * spec.size;

            value <<= unused;
            if (*at == 'd' || *at == 'i') {
                emit_signed(&out, &spec, (int64_t)value >> unused);
                break;
            }
            value >>= unused;

            const char *prefix = !spec.alternate || !value ? "" : *at == 'x' ? "0x" : *at == 'X' ? "0X" : "";

            emit_number(&out, &spec, value, *at == 'u' ? 10 : *at == 'o' ? 8 : 16, *at == 'X', prefix);
            break;
        }
        case 'p':
            emit_number(&out, &spec, (uintptr_t)va_arg(args, void *), 16, false, "0x");
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
#ifdef PLTVM_FLOATS
        case 'a':
        case 'A':
        case 'e':
        case 'E':
        case 'f':
        case 'F':
        case 'g':
        case 'G':
            emit_float(&out, &spec, *at,
                       spec.size == LONG_DOUBLE ? va_arg(args, long double) : va_arg(args, double));
            break;
#endif
        case '%':
            emit(&out, '%');
            break;
        case '\0':
            emit_bytes(&out, start, (int)(at - start));
            return out.count;
        default: /* without floating point a double counts as one too, in place of a long */
            (void)va_arg(args, long);
            emit_bytes(&out, start, (int)(at - start) + 1);
        }
    }
    return out.count;
}
