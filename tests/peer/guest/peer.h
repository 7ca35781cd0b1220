/* A host library for Penglai enclaves, written from docs/penglai-abi.md and nothing else.
 *
 * It does what a library may do and guest/host does not: every struct starts out as bytes of a pattern, and only the
 * fields that the document says a library passes are set; a shadow template is created with stack 0; memory is unmapped
 * by the size that came back from detach; shared memory and relay pages open the device anew for each call.
 * Each result is compared with the table of section 8. The first that differs is told in one line, and ends the program.
 */
#ifndef PEER_H
#define PEER_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 4096UL
#define PATTERN 0xA5
#define FIRST_EID 0x1000UL
#define FIRST_ID 0x10000
#define SHARED_AT 0x3900000000UL /* in an enclave: section 1 */
#define RELAY_AT 0x3800000000UL
#define RELAY_PAGE 1
#define PATTERN64 0xA5A5A5A5A5A5A5A5UL

enum type { NORMAL = 0, SERVER = 1, SHADOW = 2 };

/* -- what the driver reads and writes: section 8, natural C alignment ------------------------------------------ */

struct user_param {
    uint64_t eid;
    char name[16];
    int32_t type;
    uint64_t elf_ptr;
    int64_t elf_size;
    int64_t stack_size;
    int32_t shmid;
    int32_t is_shadow;
    uint64_t shm_offset;
    uint64_t shm_size;
    int32_t relay_id;
    int32_t rerun_reason;
    uint64_t relay_offset;
    uint64_t relay_size;
    uint64_t retval;
};

struct report {
    uint8_t sm_hash[32], sm_signature[64], sm_public_key[64];
    uint8_t hash[32], signature[64];
    uint64_t nonce;
    uint8_t device_public_key[64];
};

struct attest_param {
    int32_t eid;
    int32_t is_shadow;
    uint64_t nonce;
    struct report report;
};

struct get_param {
    int32_t key;
    uint64_t size;
    int32_t flags;
};

struct attach_param {
    int32_t id;
    uint64_t addr;
    uint64_t size;
    int32_t flags;
};

struct detach_param {
    int32_t id;
    uint64_t addr;
    uint64_t size;
};

/* Linux's _IOR and _IOW: direction, size, type, number. */
#define REQUEST(direction, number, size) ((direction) << 30 | (unsigned long)(size) << 16 | 0xa4UL << 8 | (number))
#define WRITES 1UL
#define READS 2UL

#define CREATE REQUEST(READS, 0, sizeof(struct user_param))
#define RUN REQUEST(READS, 1, sizeof(struct user_param))
#define ATTEST REQUEST(READS, 2, sizeof(struct attest_param))
#define STOP REQUEST(READS, 3, sizeof(struct user_param))
#define RESUME REQUEST(READS, 4, sizeof(struct user_param))
#define DESTROY REQUEST(WRITES, 5, sizeof(struct user_param))
#define SHM 0x10UL   /* the first of four numbers, for shared memory */
#define RELAY 0x14UL /* and for relay pages */
#define GET(kind) REQUEST(READS, (kind) + 0, sizeof(struct get_param))
#define ATTACH(kind) REQUEST(READS, (kind) + 1, sizeof(struct attach_param))
#define DETACH(kind) REQUEST(READS, (kind) + 2, sizeof(struct detach_param))
#define REMOVE(kind) REQUEST(READS, (kind) + 3, sizeof(int32_t))
#define PERSISTENCY REQUEST(READS, 0x18, sizeof(int32_t))

/* -- telling what differs ------------------------------------------------------------------------------------- */

void differ(const char *file, int line, const char *what, long got, long wanted) __attribute__((noreturn));

/* A result as the driver gives it: not negative, or -errno. */
#define MUST(what, wanted)                                    \
    do {                                                      \
        long got_ = (what), wanted_ = (wanted);               \
        if (got_ != wanted_)                                  \
            differ(__FILE__, __LINE__, #what, got_, wanted_); \
    } while (0)

#define HOLDS(condition) MUST(!!(condition), 1)

/* -- the device ----------------------------------------------------------------------------------------------- */

int device_open(void);
long device(int fd, unsigned long request, void *param);      /* the result, or -errno */
long device_once(unsigned long request, void *param);         /* the same, on an open file of its own */
void *device_map(int fd, size_t size, long *error);           /* NULL and -errno when it fails */

/* -- enclaves ------------------------------------------------------------------------------------------------- */

struct image {
    void *bytes;
    size_t size;
};

struct memory {
    int32_t id;
    uint64_t offset, size;
};

struct enclave {
    int fd; /* one open file for each enclave */
    uint64_t eid;
    int32_t is_shadow;
    char name[16];
};

struct image read_file(const char *path);

/* Structs with nothing set but what the document says a library passes. */
struct user_param create_param(struct image elf, const char *name, enum type type, const struct memory *shm);
struct user_param run_param(const struct enclave *enclave, const struct memory *relay, int32_t rerun_reason);
struct user_param eid_param(const struct enclave *enclave);

/* Calls that must succeed; enclave_run and enclave_again give what the driver gave. `relay` may be NULL. */
struct enclave enclave_create(const char *path, const char *name, enum type type, const struct memory *shm);
long enclave_run(struct enclave *enclave, const struct memory *relay, uint64_t *retval);
long enclave_again(struct enclave *enclave, const struct memory *relay, uint64_t *retval);
long enclave_collect(struct enclave *enclave, uint64_t *retval); /* run with what is bound to its name */
long enclave_stop(const struct enclave *enclave);
long enclave_resume(const struct enclave *enclave);
long enclave_destroy(const struct enclave *enclave);
long enclave_attest(const struct enclave *enclave, uint64_t nonce, struct report *report);
void enclave_close(struct enclave *enclave); /* closes the open file: destroys nothing */

/* -- shared memory and relay pages: `kind` is SHM or RELAY ------------------------------------------------------ */

long memory_get(unsigned long kind, uint64_t size);
long memory_attach(unsigned long kind, int32_t id, void **address); /* gives the size; maps all of it */
long memory_detach(unsigned long kind, int32_t id, uint64_t *size); /* the size to unmap */
long memory_remove(unsigned long kind, int32_t id);
void memory_unmap(void *address, uint64_t size);

/* get and attach, and detach, unmap and remove: what most programs want. */
struct memory memory_new(unsigned long kind, uint64_t size);
void *memory_open(unsigned long kind, struct memory memory);
void memory_close(unsigned long kind, struct memory memory, void *address);

/* -- programs --------------------------------------------------------------------------------------------------- */

struct program {
    const char *name;
    void (*run)(char **arguments);
    struct program *next;
};

extern struct program *programs;

/* A program of this executable: `peer NAME ARGUMENTS`. It prints "NAME: ok" when it comes to its end. */
#define PROGRAM(word)                                                                        \
    static void word(char **arguments);                                                      \
    static struct program word##_program = {#word, word, NULL};                              \
    __attribute__((constructor)) static void word##_add(void)                                \
    {                                                                                        \
        word##_program.next = programs;                                                      \
        programs = &word##_program;                                                          \
    }                                                                                        \
    static void word(char **arguments __attribute__((unused)))

/* One row of the table, or a part of one. */
#define ROW(word) PROGRAM(word)

#endif
