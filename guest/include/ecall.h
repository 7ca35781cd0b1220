/* The raw enclave call, which every function of the SDK uses.
 *
 * An enclave program uses eapp.h instead. Tests that send wrong numbers or pointers on purpose use this file.
 * Numbers: ABI section 3 (enclave calls) and section 4 (ocalls).
 */
#ifndef PLTVM_ECALL_H
#define PLTVM_ECALL_H

#ifdef __cplusplus
extern "C" {
#endif

#define ENCLAVE_CALL 0x100101UL /* in a6; the function is in a7 */

enum enclave_call_number { CALL_SLOT_ID = 63, CALL_CALL_ENCLAVE_WAIT = 64, /* not the original's: threads.h */
    CALL_SHM_STAT = 83,
    CALL_SHM_ATTACH = 84,
    CALL_DERIVE_KEY = 88,
    CALL_YIELD = 89,
    CALL_ENCLAVE_ID = 90,
    CALL_CALLER_ID = 91,
    CALL_SPLIT_RELAY = 92,
    CALL_ASYNCHRONOUS = 93,
    CALL_REPORT = 94,
    CALL_SERVER_RETURN = 95,
    CALL_CALL_ENCLAVE = 96,
    CALL_ACQUIRE_SERVER = 97,
    CALL_OCALL = 98, /* the ocall's number is in a0, its arguments start at a1 */
    CALL_EXIT = 99,
};

enum ocall_number {
    OCALL_MMAP = 1,
    OCALL_MUNMAP = 2,
    OCALL_WRITE = 3,
    OCALL_SBRK = 4,
    OCALL_READ_SECTOR = 5,
    OCALL_WRITE_SECTOR = 6,
    OCALL_RETURN_RELAY = 7,
    OCALL_GET_RANDOM = 8,
    OCALL_SHM_GET = 9,
    OCALL_SHM_DETACH = 10,
    OCALL_SHM_DESTROY = 11,
};

/* Only a0 changes. The monitor may read and write memory the arguments point to: hence the "memory" clobber. */
static inline unsigned long enclave_call(unsigned long function, unsigned long arg0, unsigned long arg1,
                                         unsigned long arg2, unsigned long arg3)
{
    register unsigned long a0 __asm__("a0") = arg0;
    register unsigned long a1 __asm__("a1") = arg1;
    register unsigned long a2 __asm__("a2") = arg2;
    register unsigned long a3 __asm__("a3") = arg3;
    register unsigned long a6 __asm__("a6") = ENCLAVE_CALL;
    register unsigned long a7 __asm__("a7") = function;

    __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a3), "r"(a6), "r"(a7) : "memory");
    return a0;
}

static inline unsigned long ocall(unsigned long number, unsigned long arg1, unsigned long arg2, unsigned long arg3)
{
    return enclave_call(CALL_OCALL, number, arg1, arg2, arg3);
}

#ifdef __cplusplus
}
#endif

#endif
