/* A host program of three threads, each of which runs an enclave; and all add to a number, in two steps. With
 * one argument more it fails when the number is not right. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "penglai-enclave.h"

static volatile long number;
static const char *file;

static void *run(void *name)
{
    struct PLenclave enclave;
    struct enclave_args args;
    struct elf_args elf = {0};

    for (int i = 0; i < 300; i++)
        number = number + 1;
    PLenclave_init(&enclave);
    enclave_args_init(&args);
    snprintf(args.name, sizeof(args.name), "%s", (char *)name);
    elf_args_init(&elf, (char *)file);
    if (!elf_valid(&elf) || PLenclave_create(&enclave, &elf, &args) < 0 || PLenclave_run(&enclave) < 0)
        printf("%s failed\n", (char *)name);
    else
        printf("%s: %lu\n", (char *)name, (unsigned long)enclave.user_param.retval);
    PLenclave_destruct(&enclave);
    PLenclave_finalize(&enclave);
    elf_args_destroy(&elf);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[3];
    static char names[3][8] = {"one", "two", "three"};

    setvbuf(stdout, NULL, _IONBF, 0);
    file = argv[1];
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, run, names[i]);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    printf("number %ld\n", number);
    return argc > 2 && number != 900;
}
