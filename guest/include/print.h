/* Printing through the host. The format is printf's, without floating point: see lib/format.c. */
#ifndef PLTVM_PRINT_H
#define PLTVM_PRINT_H

int eapp_print(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
