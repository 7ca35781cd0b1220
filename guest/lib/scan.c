/* sscanf.
 *
 *     %[*][width][hh h l ll z j t L](d i u x X o c s a e f g [set] n %)
 *
 * Floating point as in printf: in programs with a format for it. A number that does not fit is cut off to its type.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_NUMBER 72 /* characters: a sign, a prefix, 64 binary digits... */
#define LONGEST_FLOAT 400  /* characters */
#define LONG_DOUBLE 16     /* the size of a number behind L */

static const char *skip_spaces(const char *at)
{
    while (isspace((unsigned char)*at))
        at++;
    return at;
}

static void store(void *target, uint64_t value, int size)
{
    memcpy(target, &value, (size_t)size); /* little endian */
}

static const char *read_size(const char *format, int *size)
{
    *size = sizeof(int);
    if (*format == 'h') {
        *size = format[1] == 'h' ? sizeof(char) : sizeof(short);
        return format + (format[1] == 'h' ? 2 : 1);
    }
    if (*format == 'l' && format[1] == 'l')
        format++;
#ifdef PLTVM_FLOATS
    if (*format == 'L') {
        *size = LONG_DOUBLE;
        return format + 1;
    }
#endif
    if (*format && strchr("lzjt", *format)) {
        *size = sizeof(long);
        format++;
    }
    return format;
}

/* A number of at most width characters; its end, or NULL when there is none. */
static const char *scan_number(const char *at, size_t width, char conversion, uint64_t *value)
{
    char digits[LONGEST_NUMBER + 1] = "";
    char *end;
    int base = conversion == 'i' ? 0 : conversion == 'o' ? 8 : conversion == 'd' || conversion == 'u' ? 10 : 16;

    strncat(digits, at, width < LONGEST_NUMBER ? width : LONGEST_NUMBER);
    *value = conversion == 'd' || conversion == 'i' ? (uint64_t)strtol(digits, &end, base)
                                                    : strtoul(digits, &end, base);
    return end == digits ? NULL : at + (end - digits);
}

#ifdef PLTVM_FLOATS
/* A floating point number of at most width characters, stored if there is a target; its end, or NULL. */
static const char *scan_float(const char *at, size_t width, int size, void *target)
{
    char digits[LONGEST_FLOAT + 1] = "";
    char *end;

    strncat(digits, at, width && width < LONGEST_FLOAT ? width : LONGEST_FLOAT);
    if (size == LONG_DOUBLE) {
        long double value = strtold(digits, &end);
        if (target && end != digits)
            memcpy(target, &value, sizeof value);
    } else if (size == sizeof(double)) {
        double value = strtod(digits, &end);
        if (target && end != digits)
            memcpy(target, &value, sizeof value);
    } else {
        float value = strtof(digits, &end);
        if (target && end != digits)
            memcpy(target, &value, sizeof value);
    }
    return end == digits ? NULL : at + (end - digits);
}
#endif

/* The end of a set, whose first character (after ^) can be ]. */
static const char *set_end(const char *set)
{
    set += *set == '^';
    return *set ? strchr(set + 1, ']') : NULL;
}

static bool in_set(const char *set, const char *end, char c)
{
    bool inverted = *set == '^';

    for (set += inverted; set < end; set++) {
        if (set + 2 < end && set[1] == '-') {
            if (set[0] <= c && c <= set[2])
                return !inverted;
            set += 2;
        } else if (*set == c) {
            return !inverted;
        }
    }
    return inverted;
}

/* How many characters of at a text conversion takes; set is what is between the brackets of %[. */
static size_t scan_text(const char *at, size_t width, char conversion, const char *set, const char *end)
{
    size_t most = width ? width : conversion == 'c' ? 1 : SIZE_MAX;
    size_t length = 0;

    for (; length < most && at[length]; length++)
        if ((conversion == 's' && isspace((unsigned char)at[length])) ||
            (conversion == '[' && !in_set(set, end, at[length])))
            break;
    return conversion == 'c' && length < most ? 0 : length;
}

int vsscanf(const char *text, const char *format, va_list args)
{
    const char *at = text;
    int count = 0;

    for (; *format; format++) {
        if (isspace((unsigned char)*format)) {
            at = skip_spaces(at);
            continue;
        }
        if (*format != '%') {
            if (*at != *format)
                return *at || count ? count : EOF;
            at++;
            continue;
        }

        bool ignored = format[1] == '*';
        size_t width = 0;
        int size;

        for (format += 1 + ignored; isdigit((unsigned char)*format); format++)
            width = width * 10 + (size_t)(*format - '0');
        format = read_size(format, &size);

        char conversion = *format;

        if (conversion == 'n') {
            if (!ignored)
                store(va_arg(args, void *), (uint64_t)(at - text), size);
            continue;
        }
        if (conversion != 'c' && conversion != '[')
            at = skip_spaces(at);
        if (!*at)
            return count ? count : EOF;

        switch (conversion) {
        case '%':
            if (*at++ != '%')
                return count;
            continue;
        case 'd':
        case 'i':
        case 'o':
        case 'p':
        case 'u':
        case 'x':
        case 'X': {
            uint64_t value;

            at = scan_number(at, width ? width : LONGEST_NUMBER, conversion, &value);
            if (!at)
                return count;
            if (!ignored)
                store(va_arg(args, void *), value, conversion == 'p' ? (int)sizeof(void *) : size);
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
            at = scan_float(at, width, size, ignored ? NULL : va_arg(args, void *));
            if (!at)
                return count;
            break;
#endif
        case 'c':
        case 's':
        case '[': {
            const char *set = format + 1;
            const char *end = conversion == '[' ? set_end(set) : format;

            if (!end)
                return count;

            size_t length = scan_text(at, width, conversion, set, end);

            if (length == 0)
                return count;
            if (!ignored) {
                char *target = va_arg(args, char *);

                memcpy(target, at, length);
                if (conversion != 'c')
                    target[length] = '\0';
            }
            at += length;
            format = end;
            break;
        }
        default:
            return count; /* unknown */
        }
        count += !ignored;
    }
    return count;
}

int sscanf(const char *text, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int count = vsscanf(text, format, args);
    va_end(args);
    return count;
}
