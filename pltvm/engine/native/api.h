/* What every file of the native core begins with. */

#ifndef PLTVM_API_H
#define PLTVM_API_H

#define _POSIX_C_SOURCE 200809L /* strnlen */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Python calls it; all else is hidden. */
#define API __attribute__((visibility("default")))

#endif
