/* The next input of the fuzzing loop, for turn.c. */

#ifndef PLTVM_MUTATE_H
#define PLTVM_MUTATE_H

#include "fuzz/arena.h"

void mutate(struct arena *arena);

#endif
