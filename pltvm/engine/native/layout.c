/* What Python checks before it uses the core. */

#include "engine/native/api.h"
#include "monitor/records.h"

API uint64_t pltvm_enclave_bytes(void) { return sizeof(struct enclave); }
