/* Shared by the files of the host library. */
#ifndef PENGLAI_INTERNAL_H
#define PENGLAI_INTERNAL_H

#define _GNU_SOURCE

#include "penglai-enclave.h"

/* Open the device: a descriptor, or -1 with errno. */
int penglai_open(void);

/* Write "penglai: cannot <what>: <cause in errno>" to stderr, keep errno, and return -1. */
int penglai_failed(const char *what, ...) __attribute__((format(printf, 1, 2)));

#endif
