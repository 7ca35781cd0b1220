/* The requests of the enclave device, and their structures. ABI section 8 ("ABI" is docs/penglai-abi.md).
 *
 * Host programs normally use penglai-enclave.h, which includes this file. Every request takes the
 * address of its structure; the driver copies it in, works on the copy, and copies it back.
 */
#ifndef PENGLAI_ENCLAVE_IOCTL_H
#define PENGLAI_ENCLAVE_IOCTL_H

#include <stdint.h>
#include <sys/ioctl.h>

#define PENGLAI_ENCLAVE_DEV_PATH "/dev/penglai_enclave_dev"

#define NAME_LEN 16 /* a name that fills it has no NUL at the end */
#define HASH_SIZE 32
#define SIGNATURE_SIZE 64
#define PUBLIC_KEY_SIZE 64

typedef enum { NORMAL_ENCLAVE = 0, SERVER_ENCLAVE = 1, SHADOW_ENCLAVE = 2, CONCURRENT_SERVER_ENCLAVE = 3 } enclave_type_t;

struct penglai_enclave_user_param {
    uint64_t eid;
    char name[NAME_LEN];
    enclave_type_t type;
    uint64_t elf_ptr;
    int64_t elf_size;
    int64_t stack_size;
    int32_t shmid; /* shared memory: id, and which part of it */
    int32_t is_shadow; /* 1: eid is an instance of a shadow template */
    uint64_t shm_offset;
    uint64_t shm_size;
    int32_t relay_id; /* relay pages: the same */
    int32_t rerun_reason;
    uint64_t relay_offset;
    uint64_t relay_size;
    uint64_t retval; /* what the enclave returned */
};

struct sm_report_t {
    unsigned char hash[HASH_SIZE];
    unsigned char signature[SIGNATURE_SIZE];
    unsigned char sm_pub_key[PUBLIC_KEY_SIZE];
};

struct enclave_report_t {
    unsigned char hash[HASH_SIZE];
    unsigned char signature[SIGNATURE_SIZE];
    uint64_t nonce;
};

struct report_t {
    struct sm_report_t sm;
    struct enclave_report_t enclave;
    unsigned char dev_pub_key[PUBLIC_KEY_SIZE];
};

struct penglai_enclave_attest_param {
    int32_t eid;
    int32_t is_shadow;
    uint64_t nonce;
    struct report_t report;
};

/* Shared memory and relay pages. */
struct penglai_shmget_param {
    int32_t key;
    uint64_t size;
    int32_t flags;
};

struct penglai_shmat_param {
    int32_t id;
    uint64_t addr;
    uint64_t size; /* filled in by the driver */
    int32_t flags;
};

struct penglai_shmdt_param {
    int32_t id;
    uint64_t addr;
    uint64_t size;
};

struct penglai_shmctl_param {
    int32_t id;
};

#define PENGLAI_ENCLAVE_IOC_MAGIC 0xa4
#define PENGLAI_IOR(nr, type) _IOR(PENGLAI_ENCLAVE_IOC_MAGIC, nr, type)

#define PENGLAI_ENCLAVE_IOC_CREATE_ENCLAVE PENGLAI_IOR(0x00, struct penglai_enclave_user_param)
#define PENGLAI_ENCLAVE_IOC_RUN_ENCLAVE PENGLAI_IOR(0x01, struct penglai_enclave_user_param)
#define PENGLAI_ENCLAVE_IOC_ATTEST_ENCLAVE PENGLAI_IOR(0x02, struct penglai_enclave_attest_param)
#define PENGLAI_ENCLAVE_IOC_STOP_ENCLAVE PENGLAI_IOR(0x03, struct penglai_enclave_user_param)
#define PENGLAI_ENCLAVE_IOC_RESUME_ENCLAVE PENGLAI_IOR(0x04, struct penglai_enclave_user_param)
#define PENGLAI_ENCLAVE_IOC_DESTROY_ENCLAVE \
    _IOW(PENGLAI_ENCLAVE_IOC_MAGIC, 0x05, struct penglai_enclave_user_param)

/* The n-th of four requests, get, attach, detach and remove, is at base + n. */
#define PENGLAI_SHM 0x10
#define PENGLAI_SCHRODINGER 0x14
#define PENGLAI_IOC_GET(base) PENGLAI_IOR((base) + 0, struct penglai_shmget_param)
#define PENGLAI_IOC_ATTACH(base) PENGLAI_IOR((base) + 1, struct penglai_shmat_param)
#define PENGLAI_IOC_DETACH(base) PENGLAI_IOR((base) + 2, struct penglai_shmdt_param)
#define PENGLAI_IOC_REMOVE(base) PENGLAI_IOR((base) + 3, struct penglai_shmctl_param)

#define PENGLAI_ENCLAVE_IOC_PERSISTENCY_INIT PENGLAI_IOR(0x18, int32_t)

/* Not in the original: a server for several callers at once, with 8 slots, or with so many (1 to 64). */
#define CONCURRENT_SERVER CONCURRENT_SERVER_ENCLAVE
#define CONCURRENT_SERVER_OF(slots) ((enclave_type_t)(CONCURRENT_SERVER_ENCLAVE | (slots) << 8))

#endif
