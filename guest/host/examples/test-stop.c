/* Stops, resumes and destroys an enclave that never ends by itself.
 *
 *     test-stop ELF
 *
 * loop-enclave.c is such an enclave. It counts in memory that is shared with it, so one can see whether it runs.
 */
#include <pthread.h>
#include <unistd.h>

#include "common.h"

#define SIZE 4096
#define MOMENT 50000 /* microseconds */

static volatile unsigned long *counter;

static void *thread(void *argument)
{
    int result = PLenclave_run(argument);

    printf("test-stop: run %s\n", result == 0 ? "ended with the enclave" : "failed, which was not expected");
    return result == 0 ? NULL : argument;
}

/* Say what was done, and whether the enclave counts now: 0 when that is as it should be. */
static int watch(const char *done, int counting)
{
    usleep(MOMENT);

    unsigned long before = *counter;

    usleep(MOMENT);

    int counts = *counter != before;

    printf("test-stop: %s, the counter %s\n", done, counts ? "moves" : "stands still");
    return counts != counting;
}

static int step(struct PLenclave *enclave, int (*action)(struct PLenclave *), const char *done, int counting)
{
    if (action(enclave) < 0)
        return 1;
    return watch(done, counting);
}

int main(int argc, char **argv)
{
    struct elf_args elf;
    struct enclave_args args;
    struct PLenclave enclave;
    pthread_t runner;
    void *unexpected;
    int failed = 0;

    if (argc != 2) {
        fprintf(stderr, "usage: test-stop ELF\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    load(&elf, argv[1]);
    enclave_args_init(&args);
    strncpy(args.name, "test-stop", NAME_LEN);
    args.shmid = PLenclave_shmget(SIZE);
    args.shm_size = SIZE;
    if (args.shmid < 0)
        return 1;
    counter = PLenclave_shmat(args.shmid, NULL);
    if (counter == (void *)-1)
        return 1;
    if (PLenclave_init(&enclave) < 0 || PLenclave_create(&enclave, &elf, &args) < 0)
        return 1;
    elf_args_destroy(&elf);
    if (pthread_create(&runner, NULL, thread, &enclave) != 0) {
        fprintf(stderr, "test-stop: cannot start a thread\n");
        return 1;
    }

    failed += watch("running", 1);
    failed += step(&enclave, PLenclave_stop, "stopped", 0);
    failed += step(&enclave, PLenclave_resume, "resumed", 1);
    failed += step(&enclave, PLenclave_destruct, "destroyed", 0);
    pthread_join(runner, &unexpected);
    failed += unexpected != NULL;

    PLenclave_finalize(&enclave);
    failed += PLenclave_shmdt(args.shmid, (void *)counter) < 0;
    failed += PLenclave_shmctl(args.shmid) < 0;
    printf("test-stop: %s\n", failed ? "failed" : "ok");
    return failed != 0;
}
