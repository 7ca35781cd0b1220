/* The calls of an enclave program to the secure monitor and, through it, to the host.
 *
 * A program has one entry function. It gets no arguments; the registers at entry have its inputs:
 *
 *     int EAPP_ENTRY main()
 *     {
 *         unsigned long *args;
 *         EAPP_RESERVE_REG;              // args[N] is register xN at entry, so args[10] is a0: ABI section 2
 *         ...
 *         EAPP_RETURN(0);                // in a server: SERVER_RETURN(&ret)
 *     }
 *
 * "ABI" is docs/penglai-abi.md. Unless a line says otherwise a function returns 0, or -1 when refused.
 */
#ifndef PLTVM_EAPP_H
#define PLTVM_EAPP_H

#include <stddef.h>
#include <stdint.h>

#include "attest.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PAGE_SIZE 4096UL
#define EAPP_STACK_TOP 0x3800000000UL /* sp at every entry: ABI section 1 */

/* Why the registers are saved outside the entry function. At entry sp is the top of the stack and every other
 * register is the only copy of an argument. A compiler's prologue moves sp and may overwrite registers before the
 * first statement of a C function, and inline assembly that repairs that by moving sp breaks the compiler's idea
 * of the frame. So lib/start.S is entered first: it saves x0...x31 as 32 u64 at a fixed place, the top 256 bytes
 * of the stack, and then calls the function in section .text.eapp_entry. The place is fixed because sp starts at
 * the same address at every entry, also at every call of a server.
 */
#define EAPP_ENTRY __attribute__((used, section(".text.eapp_entry")))
#define EAPP_RESERVE_REG (args = (unsigned long *)(EAPP_STACK_TOP - 32 * sizeof(unsigned long)), (void)args)

#define EAPP_RETURN(value) eapp_return(value)
#define SERVER_RETURN(arg) server_return(arg)

/* One call of a server, both ways: ABI sections 3 and 5. req_* go to the server, resp_* come back. */
struct call_enclave_arg_t {
    unsigned long req_arg;
    unsigned long resp_val;
    unsigned long req_vaddr; /* pages that move to the server: page aligned, or 0 for none */
    unsigned long req_size;
    unsigned long resp_vaddr; /* pages of the server that move to the caller, or 0 */
    unsigned long resp_size;
};

struct shm_stat_t {
    unsigned long refcount;
    unsigned long size;
};

enum eapp_key_kind { EAPP_ENCLAVE_KEY = 0, EAPP_STORAGE_KEY = 1 };

/* Exit, yield, and identity (ABI section 3). */
void eapp_return(unsigned long value) __attribute__((noreturn)); /* exit, call 99; a server must not use it */
void eapp_yield(void);                                           /* let the host run, call 89 */
unsigned long get_enclave_id(void);                              /* own eid, call 90 */
unsigned long eapp_get_enclave_id(void);                         /* the same under its other name */
long get_caller_id(void);                                        /* caller's eid, or -1 when not called, call 91 */

/* Servers (ABI sections 3 and 5). Names have at most 16 bytes. */
long acquire_enclave(const char *name);                              /* handle, or -1, call 97 */
long call_enclave(unsigned long handle, struct call_enclave_arg_t *arg); /* -2 when it is busy, call 96 */
void server_return(struct call_enclave_arg_t *arg) __attribute__((noreturn)); /* call 95 */

/* Attestation and keys (ABI sections 3 and 9). */
long get_report(const char *name, struct report_t *report, unsigned long nonce); /* name 0: oneself, call 94 */
long eapp_derive_key(enum eapp_key_kind kind, void *key, size_t size);           /* call 88 */

/* Memory (ABI section 4). Request whole pages; a mapping can be larger than requested. */
void *eapp_mmap(void *address, size_t size);    /* zeroed pages, or NULL; address NULL: anywhere, ocall 1 */
long eapp_munmap(void *address, size_t size);   /* removes the whole mapping, ocall 2 */
void *eapp_sbrk(long size);                     /* heap top after the change, or (void *)-1, ocall 4 */
#define eapp_unmap eapp_munmap

/* Relay pages (ABI section 7). */
long split_mem_region(unsigned long address, unsigned long size, unsigned long split_address); /* call 92 */
long asyn_enclave_call(const char *name, struct call_enclave_arg_t *arg); /* sends the req pages to name, call 93 */
long eapp_return_relay_page(void);                                        /* to the host, ocall 7 */

/* Storage and randomness from the host, which is not trusted (ABI section 4). */
long eapp_read_sector(unsigned long sector);  /* 4096 bytes, to the memory named for persistency, ocall 5 */
long eapp_write_sector(unsigned long sector); /* from that memory, ocall 6 */
long eapp_get_random(void *buffer, size_t size); /* number of bytes, ocall 8 */

/* Memory shared between enclaves only (ABI sections 3 and 4). The size is a page multiple. */
void *eapp_shm_get(unsigned long key, size_t size, int flags); /* create and map it, or NULL, ocall 9 */
void *eapp_shm_attach(unsigned long key);                      /* map what another made, or NULL, call 84 */
long eapp_shm_stat(unsigned long key, struct shm_stat_t *stat); /* call 83 */
long eapp_shm_detach(unsigned long key);                       /* ocall 10 */
long eapp_shm_destroy(unsigned long key);                      /* ocall 11 */

#ifdef __cplusplus
}
#endif

#endif
