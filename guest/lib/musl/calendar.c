/* What musl's calendars ask of the rest of musl: one time zone, UTC, and one locale, C. */
#include <locale.h>
#include <time.h>

#include "locale_impl.h"
#include "time_impl.h"

#undef strftime

const char __utc[] = "UTC";

void __secs_to_zone(long long seconds, int local, int *is_dst, long *offset, long *other, const char **name)
{
    (void)seconds;
    (void)local;
    *is_dst = 0;
    *offset = 0;
    if (other)
        *other = 0;
    *name = __utc;
}

const char *__tm_to_tzname(const struct tm *tm)
{
    (void)tm;
    return __utc;
}

void __tzset(void)
{
}

size_t __strftime_l(char *restrict text, size_t size, const char *restrict format, const struct tm *restrict tm,
                    locale_t locale);

size_t strftime(char *restrict text, size_t size, const char *restrict format, const struct tm *restrict tm)
{
    return __strftime_l(text, size, format, tm, C_LOCALE);
}
