/* The part of <stdlib.h> that makes sense in an enclave. */
#ifndef PLTVM_STDLIB_H
#define PLTVM_STDLIB_H

#include <stddef.h>

void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *memory, size_t size);
void free(void *memory);

void abort(void) __attribute__((noreturn));
void exit(int status) __attribute__((noreturn));

#endif
