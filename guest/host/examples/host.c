/* Runs an enclave, attested, in each of some threads.
 *
 *     host ELF [THREADS]
 */
#include <pthread.h>

#include "common.h"

#define NONCE 0x1234

struct work {
    struct elf_args *elf;
    int number;
    int failed;
};

static void attest_and_run(struct work *work, struct PLenclave *enclave)
{
    if (PLenclave_attest(enclave, NONCE) < 0)
        return;
    flockfile(stdout);
    printf("host %d: report ", work->number);
    printHex(enclave->attest_param.report.enclave.hash, HASH_SIZE);
    funlockfile(stdout);

    if (PLenclave_run(enclave) < 0)
        return;
    printf("host %d: the enclave returned %lu\n", work->number, (unsigned long)enclave->user_param.retval);
    work->failed = 0;
}

static void *thread(void *argument)
{
    struct work *work = argument;
    struct enclave_args args;
    struct PLenclave enclave;

    work->failed = 1;
    enclave_args_init(&args);
    snprintf(args.name, NAME_LEN, "host-%d", work->number);
    if (PLenclave_init(&enclave) < 0)
        return NULL;
    if (PLenclave_create(&enclave, work->elf, &args) == 0) {
        attest_and_run(work, &enclave);
        PLenclave_destruct(&enclave);
    }
    PLenclave_finalize(&enclave);
    return NULL;
}

int main(int argc, char **argv)
{
    struct elf_args elf;
    struct work works[64];
    pthread_t threads[64];
    int count = argc == 3 ? count_from(argv[2]) : 1;
    int failed = 0;

    if (argc != 2 && argc != 3) {
        fprintf(stderr, "usage: host ELF [THREADS]\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    load(&elf, argv[1]);

    for (int i = 0; i < count; i++) {
        works[i] = (struct work){.elf = &elf, .number = i};
        if (pthread_create(&threads[i], NULL, thread, &works[i]) != 0) {
            fprintf(stderr, "host: cannot start thread %d\n", i);
            return 1;
        }
    }
    for (int i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
        failed += works[i].failed;
    }
    elf_args_destroy(&elf);
    printf("host: %d of %d enclaves ran\n", count - failed, count);
    return failed != 0;
}
