/* struct elf_args, elf_args_init and the like: a name under which programs include penglai-enclave.h. */
#ifndef PENGLAI_ENCLAVE_ELFLOADER_H
#define PENGLAI_ENCLAVE_ELFLOADER_H

#include "penglai-enclave.h"

#endif
