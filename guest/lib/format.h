/* The one formatter behind every print function: see format.c. */
#ifndef PLTVM_FORMAT_H
#define PLTVM_FORMAT_H

#include <stdarg.h>

/* Gives each character of the formatted text to put(sink, c) and returns their number. */
int format(void (*put)(void *sink, char c), void *sink, const char *text, va_list args);

#endif
