/* Runs instances of one shadow enclave: first one after another, then in as many threads.
 *
 *     fork-host ELF [N]
 *
 * The ELF is loaded and measured once, as a template; each run copies that.
 */
#include <pthread.h>

#include "common.h"

struct work {
    struct PLenclave enclave;
    int number;
    int failed;
};

static int run(struct PLenclave *enclave, const char *how, int number)
{
    if (PLenclave_run(enclave) < 0)
        return 1;
    printf("fork-host: %s %d: %s 0x%lx returned %lu\n", how, number,
           enclave->user_param.is_shadow ? "instance" : "template", (unsigned long)enclave->user_param.eid,
           (unsigned long)enclave->user_param.retval);
    return enclave->user_param.retval != 0;
}

static void *thread(void *argument)
{
    struct work *work = argument;

    work->failed = run(&work->enclave, "thread", work->number);
    return NULL;
}

static int run_in_threads(const struct PLenclave *template, int count)
{
    static struct work works[64];
    pthread_t threads[64];
    int failed = 0;

    for (int i = 0; i < count; i++) {
        works[i].enclave = *template; /* so that each has its own results */
        works[i].number = i;
        if (pthread_create(&threads[i], NULL, thread, &works[i]) != 0) {
            fprintf(stderr, "fork-host: cannot start thread %d\n", i);
            exit(1);
        }
    }
    for (int i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
        failed += works[i].failed;
    }
    return failed;
}

int main(int argc, char **argv)
{
    struct elf_args elf;
    struct enclave_args args;
    struct PLenclave template;
    int count = argc == 3 ? count_from(argv[2]) : 3;
    int failed = 0;

    if (argc != 2 && argc != 3) {
        fprintf(stderr, "usage: fork-host ELF [N]\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    load(&elf, argv[1]);
    enclave_args_init(&args);
    strncpy(args.name, "fork-host", NAME_LEN);
    args.type = SHADOW_ENCLAVE;
    if (PLenclave_init(&template) < 0 || PLenclave_create(&template, &elf, &args) < 0)
        return 1;
    elf_args_destroy(&elf);
    printf("fork-host: template 0x%x\n", template.eid);

    for (int i = 0; i < count; i++)
        failed += run(&template, "run", i);
    failed += run_in_threads(&template, count);

    failed += PLenclave_destruct(&template) < 0;
    PLenclave_finalize(&template);
    printf("fork-host: %s\n", failed ? "failed" : "all instances ran");
    return failed != 0;
}
