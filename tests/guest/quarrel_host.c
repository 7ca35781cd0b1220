/* A host program whose threads know each other's enclaves: some create and run them, others stop, resume, attest and
 * destroy them, and their servers, at any moment.
 *
 *     quarrel_host SERVER CALLER ROUNDS SEED
 *
 * Each request gives what the document says of it (ABI section 8), or a line says which did not. Prints how often what
 * came.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "penglai-enclave.h"

enum { RUNNERS = 6, MEDDLERS = 3, IDS = 8, KINDS = 4 };
enum request { CREATE, RUN, ATTEST, STOP, RESUME, DESTROY, REQUESTS };

static const struct {
    const char *name;
    unsigned long number;
    int errors[2];
} requests[REQUESTS] = {
    {"create", PENGLAI_ENCLAVE_IOC_CREATE_ENCLAVE, {EPERM, EFAULT}},
    {"run", PENGLAI_ENCLAVE_IOC_RUN_ENCLAVE, {EINVAL, EFAULT}},
    {"attest", PENGLAI_ENCLAVE_IOC_ATTEST_ENCLAVE, {EINVAL, EPERM}},
    {"stop", PENGLAI_ENCLAVE_IOC_STOP_ENCLAVE, {EINVAL, EPERM}},
    {"resume", PENGLAI_ENCLAVE_IOC_RESUME_ENCLAVE, {EINVAL, EPERM}},
    {"destroy", PENGLAI_ENCLAVE_IOC_DESTROY_ENCLAVE, {EINVAL, EPERM}},
};

static struct elf_args server_elf, caller_elf;
static unsigned long rounds, seed, counts[REQUESTS][3], wrong;
static int memory, running = RUNNERS;
static long ids[IDS]; /* of enclaves, by whoever made one last */

static unsigned long random_below(unsigned long *state, unsigned long end)
{
    *state = *state * 6364136223846793005UL + 1442695040888963407UL;
    return (*state >> 33) % end;
}

static int ask(int device, enum request request, void *param)
{
    int failed = ioctl(device, requests[request].number, param) < 0, cause = failed ? errno : 0;
    int which = !failed ? 0 : cause == requests[request].errors[0] ? 1 : 2;

    if (failed && cause != requests[request].errors[which - 1]) {
        printf("%s: %s\n", requests[request].name, strerror(cause));
        __atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
    }
    __atomic_add_fetch(&counts[request][which], 1, __ATOMIC_RELAXED);
    return failed ? -1 : 0;
}

/* One more enclave: mostly a caller, else one of the servers, whose name may be taken. */
static void create(int device, unsigned long *state)
{
    static const struct { const char *name; int type; } kinds[] = {
        {"", NORMAL_ENCLAVE}, {"", NORMAL_ENCLAVE}, {"slots", CONCURRENT_SERVER_OF(2)}, {"line", SERVER_ENCLAVE},
    };
    unsigned long kind = random_below(state, KINDS);
    struct elf_args *elf = kinds[kind].type == NORMAL_ENCLAVE ? &caller_elf : &server_elf;
    struct penglai_enclave_user_param param = {.elf_ptr = (unsigned long)elf->ptr, .elf_size = (long)elf->size,
        .type = kinds[kind].type, .stack_size = 8192, .shmid = memory, .shm_size = 4096};

    strncpy(param.name, kinds[kind].name, NAME_LEN);
    if (ask(device, CREATE, &param) < 0)
        return;
    /* Nobody knows the one before any more, so nobody could let it go on. */
    param.eid = (unsigned long)__atomic_exchange_n(&ids[random_below(state, IDS)], (long)param.eid, __ATOMIC_SEQ_CST);
    ask(device, DESTROY, &param);
}

static void use(int device, enum request request, unsigned long *state)
{
    long id = __atomic_load_n(&ids[random_below(state, IDS)], __ATOMIC_SEQ_CST);
    struct penglai_enclave_user_param param = {.eid = (unsigned long)id};
    struct penglai_enclave_attest_param report = {.eid = (int)id};

    ask(device, request, request == ATTEST ? (void *)&report : &param);
}

static void *run_them(void *number)
{
    unsigned long state = seed + (unsigned long)number;
    int device = open(PENGLAI_ENCLAVE_DEV_PATH, O_RDWR);

    for (unsigned long i = 0; i < rounds; i++) {
        create(device, &state);
        use(device, RUN, &state);
    }
    __atomic_sub_fetch(&running, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

/* Until the last has run: nobody stays stopped. */
static void *meddle(void *number)
{
    static const enum request what[] = {ATTEST, STOP, STOP, STOP, RESUME, RESUME, RESUME, DESTROY};
    unsigned long state = seed + (unsigned long)number;
    int device = open(PENGLAI_ENCLAVE_DEV_PATH, O_RDWR);

    while (__atomic_load_n(&running, __ATOMIC_SEQ_CST))
        use(device, what[random_below(&state, sizeof(what) / sizeof(*what))], &state);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[RUNNERS + MEDDLERS];
    unsigned long *order;

    if (argc != 5 || elf_args_init(&server_elf, argv[1]) < 0 || elf_args_init(&caller_elf, argv[2]) < 0)
        return 2;
    rounds = strtoul(argv[3], NULL, 10);
    seed = strtoul(argv[4], NULL, 10);
    memory = PLenclave_shmget(4096);
    order = PLenclave_shmat(memory, NULL);
    order[0] = order[1] = 3;
    for (unsigned long i = 0; i < RUNNERS + MEDDLERS; i++)
        pthread_create(&threads[i], NULL, i < RUNNERS ? run_them : meddle, (void *)i);
    for (unsigned long i = 0; i < RUNNERS + MEDDLERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < REQUESTS; i++)
        printf("%s: %lu, %lu, %lu\n", requests[i].name, counts[i][0], counts[i][1], counts[i][2]);
    return wrong != 0;
}
