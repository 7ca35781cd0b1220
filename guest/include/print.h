/* Printing through the host. The format is printf's, see lib/format.c. */
#ifndef PLTVM_PRINT_H
#define PLTVM_PRINT_H

#ifdef __cplusplus
extern "C" {
#endif

int eapp_print(const char *format, ...) __attribute__((format(printf, 1, 2)));

#ifdef __cplusplus
}
#endif

#endif
