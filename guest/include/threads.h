/* What a concurrent server needs: several callers are in it at once, each in a slot, and its memory is that of all.
 *
 * A slot has registers, a stack and the variables marked `_Thread_local` of its own, which start anew with each call.
 */
#ifndef PLTVM_THREADS_H
#define PLTVM_THREADS_H

#include "eapp.h"

#ifdef __cplusplus
extern "C" {
#endif

/* In which slot this call is, from 0 to the server's number of slots; 0 in what is no concurrent server. Call 63. */
unsigned long slot_id(void);

/* As call_enclave, but while the server has no room the caller waits, behind those that came before. -3 if that would
 * never end: all who could make room wait for one another. Call 64. */
long call_enclave_wait(unsigned long handle, struct call_enclave_arg_t *arg);

#ifdef __cplusplus
}
#endif

#endif
