/* A host program in which each of many threads runs a caller of two servers, all at once.
 *
 *     crowd_host SERVER CALLER THREADS CALLS
 *
 * The server slots is a concurrent one with 8 slots, line has one call at a time. Each call has a number, and they add
 * up: none was lost, and none came twice.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "penglai-enclave.h"

#define MOST 64

struct work {
    pthread_t thread;
    struct elf_args *elf;
    unsigned long number, calls, sum;
    int failed;
};

static int start_server(struct PLenclave *server, struct elf_args *elf, const char *name, enclave_type_t type)
{
    struct enclave_args args;

    enclave_args_init(&args);
    strncpy(args.name, name, NAME_LEN);
    args.type = type;
    return PLenclave_init(server) < 0 ? -1 : PLenclave_create(server, elf, &args);
}

static int run_caller(struct work *work, struct PLenclave *enclave)
{
    struct enclave_args args;
    int id = PLenclave_shmget(4096), result;
    unsigned long *order = PLenclave_shmat(id, NULL);

    if (id < 0 || order == (void *)-1)
        return -1;
    order[0] = work->number;
    order[1] = work->calls;
    enclave_args_init(&args);
    args.shmid = id;
    args.shm_size = 4096;
    result = PLenclave_create(enclave, work->elf, &args);
    if (result == 0)
        result = PLenclave_run(enclave);
    work->sum = enclave->user_param.retval;
    if (PLenclave_destruct(enclave) < 0 || PLenclave_shmdt(id, order) < 0 || PLenclave_shmctl(id) < 0)
        return -1;
    return result;
}

static void *call_them(void *argument)
{
    struct work *work = argument;
    struct PLenclave enclave;

    work->failed = PLenclave_init(&enclave) < 0 || run_caller(work, &enclave) != 0;
    PLenclave_finalize(&enclave);
    return NULL;
}

int main(int argc, char **argv)
{
    static struct work works[MOST];
    struct elf_args server_elf, caller_elf;
    struct PLenclave slots, line;
    unsigned long threads = argc == 5 ? strtoul(argv[3], NULL, 10) : 0, calls = 0, sum = 0, wanted;
    int failed = 0;

    if (threads < 1 || threads > MOST || elf_args_init(&server_elf, argv[1]) < 0 || elf_args_init(&caller_elf, argv[2]) < 0)
        return 2;
    calls = strtoul(argv[4], NULL, 10);
    if (start_server(&slots, &server_elf, "slots", CONCURRENT_SERVER_OF(8)) < 0)
        return 2;
    if (start_server(&line, &server_elf, "line", SERVER_ENCLAVE) < 0)
        return 2;
    for (unsigned long i = 0; i < threads; i++) {
        works[i].elf = &caller_elf;
        works[i].number = i + 1;
        works[i].calls = calls;
        if (pthread_create(&works[i].thread, NULL, call_them, &works[i]) != 0)
            return 2;
    }
    for (unsigned long i = 0; i < threads; i++) {
        pthread_join(works[i].thread, NULL);
        failed += works[i].failed;
        sum += works[i].sum;
        printf("%lu: %lu\n", works[i].number, works[i].sum);
    }
    wanted = threads * calls * (threads * calls + 1); /* of each server half */
    failed += PLenclave_destruct(&slots) < 0 || PLenclave_destruct(&line) < 0;
    PLenclave_finalize(&slots);
    PLenclave_finalize(&line);
    elf_args_destroy(&server_elf);
    elf_args_destroy(&caller_elf);
    printf("%d failed, the numbers add up: %s\n", failed, sum == wanted ? "yes" : "no");
    return failed || sum != wanted;
}
