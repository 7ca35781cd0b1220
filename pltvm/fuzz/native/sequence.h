/* Inputs that are several calls: see fuzz/sequences.py. */

#ifndef PLTVM_SEQUENCE_H
#define PLTVM_SEQUENCE_H

#include "fuzz/native/batch.h"
#include "monitor/native/abi.h"

/* Whether the input has one more message; `passes`: with memory, so that its call can be made here. */
int sequence_has_next(const struct batch *batch, int *passes);

/* The same client's next call: the request gets its content, and the target's registers what it starts with. */
void sequence_call(struct hart *hart, struct batch *batch);

/* Whether a call that is over has plainly given its request back. */
int sequence_gave_back(const struct batch *batch, const struct call_struct *results);

#endif
