/* Error numbers: those of Linux, as far as anything here uses them. */
#ifndef PLTVM_ERRNO_H
#define PLTVM_ERRNO_H

/* Separate for each slot of a concurrent server: lib/lock.h. 0 at every entry. */
#define errno (*(int *)0x37ffffff00UL)

#define EPERM 1
#define ENOENT 2
#define EIO 5
#define E2BIG 7
#define EBADF 9
#define EAGAIN 11
#define ENOMEM 12
#define EACCES 13
#define EBUSY 16
#define EEXIST 17
#define ENODEV 19
#define EINVAL 22
#define ENFILE 23
#define EMFILE 24
#define EFBIG 27
#define ENOSPC 28
#define ESPIPE 29
#define EDOM 33
#define ERANGE 34
#define ENAMETOOLONG 36
#define ENOSYS 38

#endif
