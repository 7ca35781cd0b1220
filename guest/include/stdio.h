/* The part of <stdio.h> that makes sense in an enclave.
 *
 * stdout and stderr print through the host, line by line: text without a newline waits for one, for fflush, or for the
 * end. (eapp_print prints at once, and the host adds a missing newline.) Files are those of the server enclave called
 * "filesystem" (fs_protocol.h; examples/fs-server.c is one). Without it fopen gives NULL and errno is ENODEV. Files are
 * buffered; fclose, fflush and the end of the program write what is still in the buffer.
 */
#ifndef PLTVM_STDIO_H
#define PLTVM_STDIO_H

#include <stdarg.h>
#include <stddef.h>

#define EOF (-1)
#define BUFSIZ 8192
#define FOPEN_MAX 16

#define SEEK_SET 0
#define SEEK_CUR 1
#define SEEK_END 2

typedef struct file FILE;

extern FILE *const stdin; /* always at its end */
extern FILE *const stdout;
extern FILE *const stderr;

int printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
int vprintf(const char *format, va_list args);
int sprintf(char *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
int vsprintf(char *buffer, const char *format, va_list args);
int snprintf(char *buffer, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
int vsnprintf(char *buffer, size_t size, const char *format, va_list args);
int fprintf(FILE *file, const char *format, ...) __attribute__((format(printf, 2, 3)));
int vfprintf(FILE *file, const char *format, va_list args);
int sscanf(const char *text, const char *format, ...) __attribute__((format(scanf, 2, 3)));
int vsscanf(const char *text, const char *format, va_list args);
int puts(const char *text);
int putchar(int c);
void perror(const char *text);

/* mode is r, w, a, r+, w+ or a+; a b or x in it may follow. */
FILE *fopen(const char *name, const char *mode);
int fclose(FILE *file);
int fflush(FILE *file); /* NULL: all of them */
size_t fread(void *memory, size_t size, size_t count, FILE *file);
size_t fwrite(const void *memory, size_t size, size_t count, FILE *file);
int fseek(FILE *file, long offset, int whence);
long ftell(FILE *file);
void rewind(FILE *file);
int feof(FILE *file);
int ferror(FILE *file);
void clearerr(FILE *file);

int fgetc(FILE *file);
int getc(FILE *file);
char *fgets(char *text, int size, FILE *file);
int ungetc(int c, FILE *file); /* one character */
int fputc(int c, FILE *file);
int putc(int c, FILE *file);
int fputs(const char *text, FILE *file);

int remove(const char *name);
int rename(const char *from, const char *to);

#endif
