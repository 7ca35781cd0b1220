/* What a FILE is: see file.c. */
#ifndef PLTVM_FILE_H
#define PLTVM_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define PRINTED (-1L) /* handles of files that are none */
#define EMPTY (-2L)

struct file {
    long handle; /* of the server */
    bool can_read, can_write, append;
    bool at_end, failed;
    int pushed;      /* by ungetc, or EOF */
    uint64_t start;  /* of the buffer, in the file */
    size_t at, filled;
    bool unwritten;  /* the buffer's filled bytes are not in the file yet */
    struct file *next;
    unsigned char *buffer;
};

#endif
