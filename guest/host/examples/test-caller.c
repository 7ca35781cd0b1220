/* Runs an enclave that calls servers, with shared memory and a relay page.
 *
 *     test-caller CALLER SERVER [SERVER1]
 *
 * SERVER is created as "test-server" and SERVER1 as "test-server1". The caller gets a page of memory that is shared
 * with this program and starts with the int 11111, and a relay page that starts with 22222.
 */
#include "common.h"

#define SIZE 4096

struct program {
    struct elf_args elf;
    struct PLenclave enclave;
    int created;
};

/* Create an enclave of an ELF file; shmid 0: without shared memory. */
static int create(struct program *program, const char *file, const char *name, enclave_type_t type, int shmid)
{
    struct enclave_args args;

    load(&program->elf, file);
    enclave_args_init(&args);
    strncpy(args.name, name, NAME_LEN);
    args.type = type;
    if (shmid > 0) {
        args.shmid = shmid;
        args.shm_offset = 0;
        args.shm_size = SIZE;
    }
    if (PLenclave_init(&program->enclave) < 0 ||
        PLenclave_create(&program->enclave, &program->elf, &args) < 0)
        return -1;
    program->created = 1;
    printf("test-caller: created %s\n", name);
    return 0;
}

static int destroy(struct program *program)
{
    int result = 0;

    if (program->created) {
        result = PLenclave_destruct(&program->enclave);
        PLenclave_finalize(&program->enclave);
    }
    elf_args_destroy(&program->elf);
    return result;
}

static int run(struct PLenclave *enclave, int relay)
{
    PLenclave_set_mem_arg(enclave, relay, 0, SIZE);

    int result = PLenclave_run(enclave);

    printf("test-caller: run returned %d\n", result);
    if (result < 0)
        return 1;
    printf("test-caller: the enclave returned %lu\n", (unsigned long)enclave->user_param.retval);
    return result != 0 || enclave->user_param.retval != 0;
}

int main(int argc, char **argv)
{
    static struct program caller, server, server1;
    int failed = 1;

    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: test-caller CALLER SERVER [SERVER1]\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IONBF, 0); /* in the order of what the enclaves print, which is not by stdio */

    int shm = PLenclave_shmget(SIZE);
    int relay = PLenclave_schrodinger_get(SIZE);

    if (shm < 0 || relay < 0)
        return 1;

    int *shared = PLenclave_shmat(shm, NULL);
    int *given = PLenclave_schrodinger_at(relay, NULL);

    if (shared == (void *)-1 || given == (void *)-1)
        return 1;
    *shared = 11111;
    *given = 22222;

    if (create(&server, argv[2], "test-server", SERVER_ENCLAVE, 0) == 0 &&
        (argc == 3 || create(&server1, argv[3], "test-server1", SERVER_ENCLAVE, 0) == 0) &&
        create(&caller, argv[1], "test-caller", NORMAL_ENCLAVE, shm) == 0)
        failed = run(&caller.enclave, relay);

    failed |= destroy(&caller) < 0;
    failed |= destroy(&server1) < 0;
    failed |= destroy(&server) < 0;
    failed |= PLenclave_schrodinger_dt(relay, given) < 0;
    failed |= PLenclave_schrodinger_ctl(relay) < 0;
    failed |= PLenclave_shmdt(shm, shared) < 0;
    failed |= PLenclave_shmctl(shm) < 0;
    printf("test-caller: %s\n", failed ? "failed" : "all is destroyed");
    return failed;
}
