/* The ocalls under the original SDK's header name: all of them are declared in eapp.h. */
#ifndef PLTVM_OCALL_H
#define PLTVM_OCALL_H

#include "eapp.h"

#endif
