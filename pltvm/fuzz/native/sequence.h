/* Inputs that are several calls: see fuzz/sequences.py. */

#ifndef PLTVM_SEQUENCE_H
#define PLTVM_SEQUENCE_H

#include "fuzz/native/batch.h"
#include "monitor/native/abi.h"

/* Begin an execution, from the snapshot. 1: the target's registers are to be loaded; 2: they are;
 * 0: Python is to begin it, and all is as it was; −1: it is to go on with the first message. */
int sequence_begin(struct hart *hart, struct batch *batch);

/* A call is over, with these results. 1: the next one is on its way; 0: none is left;
 * −1: all is for Python, and as it was; −2: the next call is. */
int sequence_next(struct hart *hart, struct batch *batch, const struct call_struct *results);

#endif
