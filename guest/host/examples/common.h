/* What the host examples have in common: one way to load an ELF file. */
#ifndef EXAMPLES_COMMON_H
#define EXAMPLES_COMMON_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "penglai-enclave.h"

/* Read an enclave's ELF file, or end the program. */
static inline void load(struct elf_args *elf, const char *filename)
{
    if (elf_args_init(elf, filename) < 0)
        exit(1);
    if (!elf_valid(elf)) {
        fprintf(stderr, "%s is not a RISC-V ELF file\n", filename);
        exit(1);
    }
}

/* A number of threads or runs from the command line, 1 to 64; or the program ends. */
static inline int count_from(const char *text)
{
    char *end;
    long count = strtol(text, &end, 10);

    if (*end || count < 1 || count > 64) {
        fprintf(stderr, "%s: a number from 1 to 64 is wanted\n", text);
        exit(2);
    }
    return count;
}

#endif
