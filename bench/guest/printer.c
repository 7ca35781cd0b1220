/* As parser.c, and prints once. */
#include "print.h"
#define PRINT
#include "parser.c"
