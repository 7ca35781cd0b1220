/* What Unicorn does otherwise than a CPU, and the core puts right: a part of engine/quirks.py. */

#ifndef PLTVM_QUIRKS_H
#define PLTVM_QUIRKS_H

#include "engine/native/hart.h"

/* Do what an instruction does that Unicorn takes for an illegal one; 0, and nothing done, if it is illegal. */
int settle_illegal(struct hart *hart);

/* The instruction at pc, 2 or 4 bytes of it, as user mode may execute it; 0, which is illegal, if it may not. */
uint32_t fetch(const struct hart *hart, uint64_t root, uint64_t pc);

#endif
