/* Gives an enclave one relay page after another, as long as it returns them.
 *
 *     relay-host ELF
 *
 * Each page starts with the number of the round. What the enclave left there is printed when the page is back.
 */
#include "common.h"

#define SIZE 4096

/* One run with a page of its own: what PLenclave_run returned. */
static int give_page(struct PLenclave *enclave, int round, int *failed)
{
    int id = PLenclave_schrodinger_get(SIZE);
    int *page = id < 0 ? (void *)-1 : PLenclave_schrodinger_at(id, NULL);

    if (page == (void *)-1)
        return -1;
    *page = round;
    PLenclave_set_mem_arg(enclave, id, 0, SIZE);
    PLenclave_set_rerun_arg(enclave, round ? RETURN_USER_RELAY_PAGE : 0);

    int result = PLenclave_run(enclave);

    if (result == RETURN_USER_RELAY_PAGE)
        printf("relay-host: round %d: the page came back with %d\n", round, *page);
    *failed |= PLenclave_schrodinger_dt(id, page) < 0;
    *failed |= PLenclave_schrodinger_ctl(id) < 0;
    return result;
}

int main(int argc, char **argv)
{
    struct elf_args elf;
    struct enclave_args args;
    struct PLenclave enclave;
    int failed = 0;
    int round = 0;
    int result;

    if (argc != 2) {
        fprintf(stderr, "usage: relay-host ELF\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IONBF, 0); /* in the order of what the enclave prints, which is not by stdio */
    load(&elf, argv[1]);
    enclave_args_init(&args);
    strncpy(args.name, "relay-host", NAME_LEN);
    if (PLenclave_init(&enclave) < 0 || PLenclave_create(&enclave, &elf, &args) < 0)
        return 1;
    elf_args_destroy(&elf);

    while ((result = give_page(&enclave, round, &failed)) == RETURN_USER_RELAY_PAGE)
        round++;
    if (result == 0)
        printf("relay-host: after %d rounds the enclave returned %lu\n", round + 1,
               (unsigned long)enclave.user_param.retval);
    failed |= result < 0;
    failed |= PLenclave_destruct(&enclave) < 0;
    PLenclave_finalize(&enclave);
    return failed;
}
