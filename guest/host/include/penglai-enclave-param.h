/* struct enclave_args, enclave_args_init and the like: a name under which programs include penglai-enclave.h. */
#ifndef PENGLAI_ENCLAVE_PARAM_H
#define PENGLAI_ENCLAVE_PARAM_H

#include "penglai-enclave.h"

#endif
