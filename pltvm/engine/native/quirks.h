/* Differences between Unicorn and a CPU that the core corrects: a part of engine/quirks.py. */

#ifndef PLTVM_QUIRKS_H
#define PLTVM_QUIRKS_H

#include "engine/native/hart.h"

/* Run an instruction that is illegal for Unicorn; 0, and nothing done, if it really is illegal. */
int settle_illegal(struct hart *hart);

/* The instruction at pc, 2 or 4 bytes of it, as user mode may execute it; 0, which is illegal, if it may not. */
uint32_t fetch(const struct hart *hart, uint64_t root, uint64_t pc);

#endif
