/* The steps of the fuzzing loop: see fuzz/turn.py. */

#ifndef PLTVM_TURN_H
#define PLTVM_TURN_H

#include "engine/native/api.h"
#include "fuzz/arena.h"

API int pltvm_fuzz_classify(struct arena *arena, int keep);
API void pltvm_fuzz_part(struct arena *arena, int64_t client, int keep);
API void pltvm_fuzz_restore(struct arena *arena);
API int pltvm_fuzz_deeper(struct arena *arena, int keep);
API void pltvm_fuzz_place(struct arena *arena);
API void pltvm_fuzz_advance(struct arena *arena);
API int pltvm_fuzz_turn(struct arena *arena);

#endif
