/* Printing without a format: see print.c. */
#ifndef PLTVM_PRINT_BYTES_H
#define PLTVM_PRINT_BYTES_H

#include <stddef.h>

void print_bytes(const char *bytes, size_t size);
void print_waiting(void); /* what stdout still holds */

extern void (*flush_at_end)(void); /* in exit.c; set by whoever holds something */

#endif
