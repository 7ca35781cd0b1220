/* The enclave device as the interface's section 8 has it: a request's number, and the structures. */
#include <sys/ioctl.h>

#define REQUEST(nr) _IOC(_IOC_READ, 0xa4, nr, 112)

struct user_param {
    unsigned long eid;
    char name[16];
    int type;
    void *elf;
    long elf_size, stack_size;
    int shmid, is_shadow;
    unsigned long shm_offset, shm_size;
    int relay_id, rerun_reason;
    unsigned long relay_offset, relay_size, retval;
};
struct attest_param { int eid, is_shadow; unsigned long nonce; unsigned char report[328]; };
struct get { int key; unsigned long size; int flags; };
struct attach { int id; unsigned long addr, size; int flags; };
struct detach { int id; unsigned long addr, size; };
