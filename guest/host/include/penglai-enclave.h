/* Enclaves for Linux programs: the functions that use the enclave device. ABI sections 5 to 8.
 *
 *     struct elf_args elf;
 *     struct enclave_args args;
 *     struct PLenclave enclave;
 *
 *     elf_args_init(&elf, "hello-world.elf");
 *     enclave_args_init(&args);
 *     PLenclave_init(&enclave);
 *     if (elf_valid(&elf) && PLenclave_create(&enclave, &elf, &args) == 0 && PLenclave_run(&enclave) == 0)
 *         printf("it returned %lu\n", (unsigned long)enclave.user_param.retval);
 *     PLenclave_destruct(&enclave);
 *     PLenclave_finalize(&enclave);
 *     elf_args_destroy(&elf);
 *
 * Build with pltvm.build.host.build_host, or with any RV64 Linux compiler:
 *     riscv64-linux-gnu-gcc -static -pthread -I guest/host/include program.c guest/host/lib/[a-z]*.c
 *
 * Unless a line says otherwise a function returns 0. A call that fails returns a value below 0, leaves the cause in
 * errno, and writes one line with the cause to stderr. Different threads can use different enclaves freely, and
 * while one is in PLenclave_run others can stop, resume and destroy that enclave.
 */
#ifndef PENGLAI_ENCLAVE_H
#define PENGLAI_ENCLAVE_H

#include <stddef.h>
#include <stdint.h>

#include "penglai-enclave-ioctl.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DEFAULT_STACK_SIZE (64 * 1024)

/* What PLenclave_run returns when the enclave gave its relay pages back and waits for new ones; also the reason to
 * give to PLenclave_set_rerun_arg then. */
#define RELAY_PAGE 1
#define RETURN_USER_RELAY_PAGE RELAY_PAGE

/* -- an enclave's ELF file, in memory ---------------------------------------------------------------------- */

struct elf_args {
    char *ptr;
    unsigned long size;
};

int elf_args_init(struct elf_args *elf, const char *filename);
int elf_valid(const struct elf_args *elf); /* 1: it is a 64-bit RISC-V ELF file; 0: no */
void elf_args_destroy(struct elf_args *elf);

/* -- parameters of a new enclave --------------------------------------------------------------------------- */

struct enclave_args {
    char name[NAME_LEN]; /* of servers, and of enclaves that get relay pages: unique among living ones */
    enclave_type_t type;
    unsigned long stack_size;
    int shmid; /* memory to share with it, or 0 */
    unsigned long shm_offset;
    unsigned long shm_size;
};

/* A normal enclave without name and without shared memory, and a stack of 64 KiB. */
void enclave_args_init(struct enclave_args *args);

/* -- enclaves ---------------------------------------------------------------------------------------------- */

struct PLenclave {
    char name[NAME_LEN];
    enclave_type_t type;
    int fd;    /* of the device; -1: PLenclave_init has failed */
    int eid;   /* of what PLenclave_create made, and of a shadow template also after a run; -1: none */
    int state; /* the library's */
    /* After a run: retval and, for a shadow, eid and is_shadow of the instance. */
    struct penglai_enclave_user_param user_param;
    struct penglai_enclave_attest_param attest_param; /* after PLenclave_attest: report */
};

int PLenclave_init(struct PLenclave *enclave);
int PLenclave_finalize(struct PLenclave *enclave); /* only closes the device */

int PLenclave_create(struct PLenclave *enclave, struct elf_args *elf, struct enclave_args *args);

/* Run an enclave to its end: 0, and user_param.retval is what it returned, or RELAY_PAGE. Each run of a shadow template
 * makes an instance of it; threads that do so at the same time should each use a copy of the struct. */
int PLenclave_run(struct PLenclave *enclave);
int PLenclave_stop(struct PLenclave *enclave); /* stop a running enclave until it is resumed */
int PLenclave_resume(struct PLenclave *enclave);
int PLenclave_destruct(struct PLenclave *enclave); /* no error if it has ended already */
int PLenclave_attest(struct PLenclave *enclave, uint64_t nonce);

/* Relay pages for the next run: a part of the pages of PLenclave_schrodinger_get. Size 0: those bound to its name. */
int PLenclave_set_mem_arg(struct PLenclave *enclave, int id, unsigned long offset, unsigned long size);
/* Let the next run go on with an enclave for which PLenclave_run has returned RELAY_PAGE. */
int PLenclave_set_rerun_arg(struct PLenclave *enclave, int reason);

/* -- memory shared with enclaves, and relay ("Schrodinger") pages, which are in one place only --------------- */

int PLenclave_shmget(size_t size);          /* an id above 0; the size is rounded up to pages */
void *PLenclave_shmat(int id, void *where); /* map it, if possible at `where`; (void *)-1 when that fails */
int PLenclave_shmdt(int id, void *address);
int PLenclave_shmctl(int id); /* remove it */

int PLenclave_schrodinger_get(size_t size);
void *PLenclave_schrodinger_at(int id, void *where);
int PLenclave_schrodinger_dt(int id, void *address);
int PLenclave_schrodinger_ctl(int id);

/* Name the shared memory by which sectors of enclaves are passed: ABI section 4. */
int PLenclave_persistency_init(int shmid);
int eapp_persistency_init(int shmid); /* the same under its other name */

/* Print bytes in hexadecimal and a newline. Programs bring their own printHex, some with an int for the length; so
 * the library's is weak and, where C allows it, has no prototype that theirs could contradict. */
#if defined(__cplusplus) || (defined(__STDC_VERSION__) && __STDC_VERSION__ > 201710L)
void printHex(unsigned char *bytes, unsigned int count);
#else
void printHex();
#endif

#ifdef __cplusplus
}
#endif

#endif
