/* Numbers of the interface that the core needs; a test compares them with monitor/abi.py and others. */

#ifndef PLTVM_ABI_H
#define PLTVM_ABI_H

#include <stdint.h>

/* §3: a6 of every call, and a7. */
enum { ENCLAVE_CALL = 0x100101, LINUX_IOCTL = 29 };
enum call { CALL_SLOT_ID = 63, CALL_CALL_WAITING, CALL_YIELD = 89, CALL_ENCLAVE_ID, CALL_CALLER_ID, CALL_RETURN = 95, CALL_CALL, CALL_ACQUIRE, CALL_OCALL };

enum ocall { OCALL_MMAP = 1, OCALL_MUNMAP, OCALL_WRITE, OCALL_SBRK }; /* §4 */
enum { STATUS_OCALL = 2, STATUS_YIELD = 3 };      /* §8 */
enum { TYPE_SERVER = 1, TYPE_CONCURRENT_SERVER = 3, NAME_SIZE = 16, WRITE_LIMIT = 511 };

/* §1 */
#define HEAP_BASE UINT64_C(0x1000000000)
#define MMAP_TOP UINT64_C(0x3000000000)
#define STACK_TOP UINT64_C(0x3800000000)

/* What a caller passes and gets back (§3). */
struct call_struct {
    uint64_t req_arg, resp_val, req_vaddr, req_size, resp_vaddr, resp_size;
};

/* States of an enclave, as monitor/state.py has them. */
enum enclave_state { FRESH, RUNNABLE, RUNNING, WAITING_FOR_HOST, CALLING, QUEUED };

/* Entries of the page bitmap, as monitor/pages.py has them. */
#define PRIVATE (UINT32_C(1) << 31)
#define BOTH (UINT32_C(1) << 29)

#endif
