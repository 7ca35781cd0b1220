/* The rows of the table for enclaves: create, run, attest, stop, resume, destroy, and what holds for any ioctl. */
#include <elf.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include "peer.h"

#define MIB (1UL << 20)

static long create(struct user_param *param)
{
    int fd = device_open();
    long result = device(fd, CREATE, param);

    close(fd);
    return result;
}

static long create_simple(const char *path, const char *name, enum type type)
{
    struct image elf = read_file(path);
    struct user_param param = create_param(elf, name, type, NULL);
    long result = create(&param);

    free(elf.bytes);
    return result;
}

/* An enclave without shared memory gives 0x600d: see enclaves/entry.c. */
static void must_run(struct enclave *enclave)
{
    uint64_t retval = 0;

    MUST(enclave_run(enclave, NULL, &retval), 0);
    MUST(retval, 0x600d);
}

/* -- any -------------------------------------------------------------------------------------------------------- */

ROW(any_number_too_large)
{
    char *memory = calloc(4, PAGE);

    for (unsigned long number = 0; number < 0x20; number++) {
        MUST(device_once(REQUEST(READS, number, 1025), memory), -EFAULT);
        MUST(device_once(REQUEST(READS, number, 0x3fff), memory), -EFAULT);
    }
}

ROW(any_not_readable)
{
    const unsigned long requests[] = {CREATE, RUN, ATTEST, STOP, RESUME, DESTROY, GET(SHM), ATTACH(SHM), DETACH(SHM),
                                      REMOVE(SHM), GET(RELAY), ATTACH(RELAY), DETACH(RELAY), REMOVE(RELAY), PERSISTENCY};
    char *two = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    HOLDS(two != MAP_FAILED);
    MUST(munmap(two + PAGE, PAGE), 0);
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        MUST(device_once(requests[i], NULL), -EFAULT);
        MUST(device_once(requests[i], (void *)8), -EFAULT);
        MUST(device_once(requests[i], (void *)-PAGE), -EFAULT);
        MUST(device_once(requests[i], (void *)0x8000000000000000), -EFAULT);
        MUST(device_once(requests[i], two + PAGE - 2), -EFAULT); /* all structs are longer */
    }
}

ROW(any_not_listed)
{
    static char memory[1024];
    const unsigned long numbers[] = {6, 7, 0xf, 0x19, 0x1a, 0x20, 0xff};

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        MUST(device_once(REQUEST(READS, numbers[i], 112), memory), -EFAULT);
        MUST(device_once(REQUEST(WRITES, numbers[i], 8), memory), -EFAULT);
        MUST(device_once(REQUEST(READS, numbers[i], 1024), memory), -EFAULT);
    }
    MUST(device_once(CREATE ^ 0x100, memory), -EFAULT); /* another type */
    MUST(device_once(0x5401, memory), -EFAULT);         /* TCGETS: a C library may ask */
}

ROW(any_struct_anywhere)
{
    struct enclave enclave = enclave_create("entry.elf", "entry", NORMAL, NULL);
    char *memory = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct user_param param = run_param(&enclave, NULL, 0);
    char *across = memory + PAGE - 43; /* of two pages, and of no alignment */

    memcpy(across, &param, sizeof param);
    MUST(device(enclave.fd, RUN, across), 0);
    memcpy(&param, across, sizeof param);
    MUST(param.retval, 0x600d);
}

struct other_thread {
    struct enclave *enclave;
    struct user_param param;
    long result;
};

static void *run_in_thread(void *argument)
{
    struct other_thread *thread = argument;

    thread->result = device(thread->enclave->fd, RUN, &thread->param);
    return NULL;
}

/* What the program writes into the struct meanwhile is gone: the driver's copy comes back, also when the call fails. */
static void copied_back(uint64_t command, long wanted)
{
    struct memory shared = memory_new(SHM, PAGE);
    volatile uint64_t *words = memory_open(SHM, shared);
    struct enclave enclave = enclave_create("entry.elf", "entry", NORMAL, &shared);
    struct other_thread thread = {.enclave = &enclave, .param = run_param(&enclave, NULL, 0)};
    pthread_t id;

    words[0] = words[1] = 0;
    MUST(pthread_create(&id, NULL, run_in_thread, &thread), 0);
    while (words[0] == 0)
        sched_yield();
    thread.param.elf_size = 1;
    thread.param.eid = 2;
    words[1] = command;
    MUST(pthread_join(id, NULL), 0);
    MUST(thread.result, wanted);
    MUST(thread.param.elf_size, (long)PATTERN64);
    MUST(thread.param.eid, enclave.eid);
    memory_close(SHM, shared, (void *)words);
    MUST(memory_remove(SHM, shared.id), 0);
}

ROW(any_copied_back)
{
    copied_back(1, 0);
}

ROW(any_copied_back_when_it_fails)
{
    copied_back(2, -EFAULT);
}

/* -- create ----------------------------------------------------------------------------------------------------- */

/* An ELF whose last loaded header and .bss ask for `size` bytes. */
static struct image asking_for(uint64_t size)
{
    struct image elf = read_file("entry.elf");
    Elf64_Ehdr *header = elf.bytes;
    Elf64_Phdr *segments = (Elf64_Phdr *)((char *)elf.bytes + header->e_phoff), *last = NULL;
    Elf64_Shdr *sections = (Elf64_Shdr *)((char *)elf.bytes + header->e_shoff);

    for (int i = 0; i < header->e_phnum; i++)
        if (segments[i].p_type == PT_LOAD && segments[i].p_memsz)
            last = &segments[i];
    HOLDS(last);
    last->p_memsz = size;
    for (int i = 0; i < header->e_shnum; i++)
        if (sections[i].sh_type == SHT_NOBITS && sections[i].sh_addr)
            sections[i].sh_size = size - (sections[i].sh_addr - last->p_vaddr);
    return elf;
}

ROW(create_memory_too_large)
{
    struct user_param param = create_param(asking_for(600 * MIB), "big", NORMAL, NULL);

    MUST(create(&param), -EPERM);
    param = create_param(asking_for(600 * MIB), "big", SERVER, NULL);
    MUST(create(&param), -EPERM);
    param = create_param(asking_for(600 * MIB), "big", SHADOW, NULL);
    MUST(create(&param), -EPERM);
    param = create_param(asking_for(1UL << 62), "big", NORMAL, NULL);
    MUST(create(&param), -EPERM);
    param = create_param(asking_for(100 * MIB), "big", NORMAL, NULL);
    MUST(create(&param), 0);
}

ROW(create_stack_too_large)
{
    struct user_param param = create_param(read_file("entry.elf"), "entry", NORMAL, NULL);

    param.stack_size = 64 * MIB + 1;
    MUST(create(&param), -EPERM);
    param.stack_size = 64 * MIB + PAGE;
    MUST(create(&param), -EPERM);
    param.stack_size = INT64_MAX;
    MUST(create(&param), -EPERM);
    param.stack_size = 64 * MIB;
    MUST(create(&param), 0);
}

/* The limits come before everything else that goes wrong. */
ROW(create_order)
{
    MUST(create_simple("entry.elf", "taken", SERVER), 0);
    MUST(create_simple("entry.elf", "taken", SERVER), -EFAULT);

    struct user_param param = create_param(read_file("entry.elf"), "taken", SERVER, NULL);

    param.stack_size = 64 * MIB + PAGE;
    MUST(create(&param), -EPERM);
    param = create_param(asking_for(600 * MIB), "taken", SERVER, NULL);
    MUST(create(&param), -EPERM);
}

ROW(create_template_whatever_stack)
{
    const int64_t sizes[] = {0, 1, PAGE, 64 << 10, 65 * MIB, INT64_MAX, -1, (int64_t)PATTERN64};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct user_param param = create_param(read_file("instance.elf"), "template", SHADOW, NULL);
        struct enclave template = {.fd = device_open(), .name = "template"};
        uint64_t retval;

        param.stack_size = sizes[i];
        MUST(device(template.fd, CREATE, &param), 0);
        template.eid = param.eid;
        MUST(enclave_run(&template, NULL, &retval), 0);
        MUST(retval, 100);
        MUST(template.is_shadow, 1);
    }
}

ROW(create_elf_size_is_no_limit)
{
    const int64_t sizes[] = {1, 64, (int64_t)1 << 40, INT64_MAX};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct user_param param = create_param(read_file("entry.elf"), "entry", NORMAL, NULL);
        struct enclave enclave = {.fd = device_open(), .name = "entry"};

        param.elf_size = sizes[i];
        MUST(device(enclave.fd, CREATE, &param), 0);
        enclave.eid = param.eid;
        must_run(&enclave);
    }
}

ROW(create_bad_elf)
{
    struct image elf = read_file("entry.elf");
    struct user_param param = create_param(elf, "bad", NORMAL, NULL);
    Elf64_Ehdr *header = elf.bytes;

    param.elf_ptr = 0;
    MUST(create(&param), -EFAULT);
    param.elf_ptr = 0xffffffff80000000;
    MUST(create(&param), -EFAULT);
    param.elf_ptr = (uint64_t)elf.bytes;
    header->e_entry = 0;
    MUST(create(&param), -EFAULT);
    header->e_ident[0] = 'X';
    MUST(create(&param), -EFAULT);
    memset(elf.bytes, PATTERN, elf.size);
    MUST(create(&param), -EFAULT);
}

ROW(create_name_of_server_taken)
{
    struct enclave first = enclave_create("service.elf", "sixteen bytes !!", SERVER, NULL);

    MUST(create_simple("service.elf", "sixteen bytes !!", SERVER), -EFAULT);
    MUST(create_simple("service.elf", "sixteen bytes !", SERVER), 0);
    MUST(create_simple("entry.elf", "sixteen bytes !!", NORMAL), 0); /* no server */
    MUST(enclave_destroy(&first), 0);
    MUST(create_simple("service.elf", "sixteen bytes !!", SERVER), 0);
}

/* With 128 MiB of RAM: the test runs it so. */
ROW(create_no_host_memory)
{
    struct user_param param = create_param(read_file("entry.elf"), "entry", NORMAL, NULL);
    struct enclave first = {.fd = device_open(), .eid = FIRST_EID};
    int made = 0;
    long result;

    param.stack_size = 20 * MIB; /* in a block of 32 MiB */
    while ((result = create(&param)) == 0)
        HOLDS(++made < 4);
    MUST(result, -EFAULT);
    HOLDS(made > 0);
    MUST(enclave_destroy(&first), 0);
    MUST(create(&param), 0); /* there is room again */
    MUST(create(&param), -EFAULT);
}

ROW(create_eids)
{
    struct enclave normal = enclave_create("entry.elf", "normal", NORMAL, NULL);
    struct enclave server = enclave_create("service.elf", "server", SERVER, NULL);
    struct enclave template = enclave_create("instance.elf", "template", SHADOW, NULL), one = template;
    struct enclave another = enclave_create("entry.elf", "normal", NORMAL, NULL);
    uint64_t retval;

    MUST(normal.eid, FIRST_EID);
    MUST(server.eid, FIRST_EID + 1);
    MUST(template.eid, FIRST_EID + 2);
    MUST(another.eid, FIRST_EID + 3);
    MUST(enclave_run(&one, NULL, &retval), 0);
    MUST(one.eid, FIRST_EID + 4);
    MUST(one.is_shadow, 1);
    must_run(&normal);
    must_run(&another);
}

/* Whatever is wrong with shared memory: the enclave has none, and there is no error. */
ROW(create_without_shared_memory)
{
    struct memory good = memory_new(SHM, 4 * PAGE);
    const struct memory wrong[] = {
        {good.id + 1, 0, PAGE},        {0, 0, PAGE},
        {-1, 0, PAGE},                 {1, 0, PAGE},
        {good.id, 0, 0},               {good.id, 0, 100},
        {good.id, 0, PAGE + 1},        {good.id, 8, PAGE},
        {good.id, 0, 5 * PAGE},        {good.id, PAGE, 4 * PAGE},
        {good.id, 4 * PAGE, PAGE},     {good.id, -PAGE, 2 * PAGE},
        {good.id, PAGE, -PAGE},        {good.id, 1UL << 63, 1UL << 63},
    };

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct enclave enclave = enclave_create("entry.elf", "entry", NORMAL, &wrong[i]);

        must_run(&enclave);
    }
}

ROW(create_with_shared_memory)
{
    const struct {
        uint64_t offset, size;
    } parts[] = {{0, 4 * PAGE}, {0, PAGE}, {PAGE, 2 * PAGE}, {3 * PAGE, PAGE}};
    struct memory shared = memory_new(SHM, 4 * PAGE);
    volatile uint64_t *words = memory_open(SHM, shared);

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        struct memory part = {shared.id, parts[i].offset, parts[i].size};
        volatile uint64_t *given = words + part.offset / 8;
        struct enclave enclave;
        uint64_t retval;

        memset((void *)words, 0, 4 * PAGE);
        given[1] = 1;
        given[2] = 70 + i;
        enclave = enclave_create("entry.elf", "entry", NORMAL, &part);
        MUST(enclave_run(&enclave, NULL, &retval), 0);
        MUST(retval, 70 + i);
        MUST(given[8], SHARED_AT);
        MUST(given[9], part.size);
        MUST(given[11], 0); /* no relay pages */
        MUST(given[13], RELAY_AT); /* where the stack ends */
    }
    memory_close(SHM, shared, (void *)words);
    MUST(memory_remove(SHM, shared.id), 0);
}

ROW(create_template_without_shared_memory)
{
    struct memory shared = memory_new(SHM, PAGE);
    struct enclave template = enclave_create("instance.elf", "template", SHADOW, &shared);
    uint64_t retval;

    MUST(enclave_run(&template, NULL, &retval), 0);
    MUST(retval, 100);
}

/* -- run -------------------------------------------------------------------------------------------------------- */

ROW(run_unknown)
{
    const uint64_t eids[] = {0, 1, FIRST_EID, FIRST_EID + 1, PATTERN64, 1UL << 32};

    for (size_t i = 0; i < sizeof eids / sizeof *eids; i++) {
        struct enclave enclave = {.fd = device_open(), .eid = eids[i]};

        MUST(enclave_run(&enclave, NULL, NULL), -EINVAL);
        MUST(enclave_again(&enclave, NULL, NULL), -EINVAL);
        enclave.is_shadow = 1;
        MUST(enclave_again(&enclave, NULL, NULL), -EINVAL);
    }

    struct enclave enclave = enclave_create("entry.elf", "entry", NORMAL, NULL);

    enclave.eid += 1UL << 32; /* eids are 64 bits wide */
    MUST(enclave_run(&enclave, NULL, NULL), -EINVAL);
}

ROW(run_other_reasons)
{
    struct enclave enclave = enclave_create("entry.elf", "entry", NORMAL, NULL);
    struct user_param param = run_param(&enclave, NULL, 2);

    HOLDS(device(enclave.fd, RUN, &param) < 0);
    param = run_param(&enclave, NULL, -1);
    HOLDS(device(enclave.fd, RUN, &param) < 0);
    param = run_param(&enclave, NULL, 1); /* it has returned no relay page */
    HOLDS(device(enclave.fd, RUN, &param) < 0);
    must_run(&enclave); /* it stayed as it was */
}

ROW(run_server)
{
    struct enclave service = enclave_create("service.elf", "service", SERVER, NULL);
    struct enclave client = enclave_create("client.elf", "client", NORMAL, NULL);
    uint64_t retval;

    MUST(enclave_run(&service, NULL, NULL), -EFAULT);
    MUST(enclave_stop(&service), -EPERM);
    MUST(enclave_resume(&service), -EPERM);
    MUST(enclave_run(&client, NULL, &retval), 0);
    MUST(retval, 1);
    MUST(enclave_destroy(&service), 0);
    client = enclave_create("client.elf", "client", NORMAL, NULL);
    MUST(enclave_run(&client, NULL, &retval), 0);
    MUST(retval, 0xdead);
}

static void run_fails(const char *elf)
{
    struct enclave enclave = enclave_create(elf, "fails", NORMAL, NULL);

    MUST(enclave_run(&enclave, NULL, NULL), -EFAULT);
    HOLDS(enclave_run(&enclave, NULL, NULL) < 0); /* it is gone */
    enclave = enclave_create("entry.elf", "entry", NORMAL, NULL);
    must_run(&enclave);
}

ROW(run_no_memory_for_mmap)
{
    run_fails("greedy.elf");
}

ROW(run_no_memory_for_heap)
{
    run_fails("greedy-heap.elf");
}

/* With 64 MiB of RAM, all of them in use. */
ROW(run_no_memory_for_instance)
{
    struct enclave template = enclave_create("instance.elf", "template", SHADOW, NULL), instance = template;
    struct memory room = memory_new(SHM, 4 * MIB);
    uint64_t retval;

    for (uint64_t size = 32 * MIB; size >= PAGE; size /= 2)
        while (memory_get(SHM, size) >= 0)
            ;
    MUST(enclave_run(&instance, NULL, NULL), -EFAULT);
    MUST(memory_remove(SHM, room.id), 0);
    instance = template;
    MUST(enclave_run(&instance, NULL, &retval), 0);
    MUST(retval, 100);
}

ROW(run_stale)
{
    run_fails("stale.elf");
}

static void run_command(uint64_t command)
{
    struct memory shared = memory_new(SHM, PAGE);
    volatile uint64_t *words = memory_open(SHM, shared);
    struct enclave enclave = enclave_create("entry.elf", "entry", NORMAL, &shared);

    words[1] = command;
    MUST(enclave_run(&enclave, NULL, NULL), -EFAULT);
    words[0] = 5; /* the memory stays */
    memory_close(SHM, shared, (void *)words);
    MUST(memory_remove(SHM, shared.id), 0);
}

ROW(run_fault)
{
    run_command(2);
}

ROW(run_unknown_call)
{
    run_command(3);
}

ROW(run_other_convention)
{
    run_command(4);
}

ROW(run_retval)
{
    const uint64_t values[] = {0, 1, 2, -1UL, 1UL << 63, 0x123456789abcdef0};
    struct memory shared = memory_new(SHM, PAGE);
    volatile uint64_t *words = memory_open(SHM, shared);

    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct enclave enclave = enclave_create("entry.elf", "entry", NORMAL, &shared);
        uint64_t retval;

        words[1] = 1;
        words[2] = values[i];
        MUST(enclave_run(&enclave, NULL, &retval), 0); /* whatever the enclave returned */
        MUST(retval, values[i]);
        HOLDS(enclave_run(&enclave, NULL, NULL) < 0);
        enclave_close(&enclave);
    }
}

ROW(run_and_close)
{
    struct enclave enclave = enclave_create("entry.elf", "entry", NORMAL, NULL);

    enclave_close(&enclave); /* destroys nothing */
    enclave.fd = device_open();
    must_run(&enclave);
}

ROW(run_registers)
{
    struct enclave enclave = enclave_create("registers.elf", "registers", NORMAL, NULL);
    struct user_param param = run_param(&enclave, NULL, 0);
#ifdef __riscv_flen
    double before[12], after[12];
    register long a0 __asm__("a0") = enclave.fd;
    register long a1 __asm__("a1") = RUN;
    register void *a2 __asm__("a2") = &param;
    register long a7 __asm__("a7") = 29;

    for (int i = 0; i < 12; i++)
        before[i] = i + 0.5;
    __asm__ volatile(
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11\n\t fld fs\\n, 8 * \\n(%2)\n\t .endr\n\t"
        "ecall\n\t"
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11\n\t fsd fs\\n, 8 * \\n(%3)\n\t .endr\n\t"
        : "+r"(a0)
        : "r"(a1), "r"(before), "r"(after), "r"(a2), "r"(a7)
        : "memory", "fs0", "fs1", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9", "fs10", "fs11");
    MUST(a0, 0);
    HOLDS(memcmp(before, after, sizeof before) == 0);
#else
    MUST(device(enclave.fd, RUN, &param), 0);
#endif
    MUST(param.retval, 0x600d);
}

ROW(run_memory)
{
    struct enclave enclave = enclave_create("memory.elf", "memory", NORMAL, NULL);

    must_run(&enclave);
}

/* What section 1 says of today's linkers. With the attributes header the first byte of .riscv.attributes is there. */
ROW(run_lowest_address)
{
    struct enclave enclave = enclave_create("lowest.elf", "lowest", NORMAL, NULL);
    uint64_t retval;

    if (arguments[0] && strcmp(arguments[0], "attributes") == 0) {
        MUST(enclave_run(&enclave, NULL, &retval), 0);
        MUST(retval, 'A');
    } else {
        MUST(enclave_run(&enclave, NULL, &retval), -EFAULT);
    }
}

ROW(run_template)
{
    struct enclave template = enclave_create("instance.elf", "template", SHADOW, NULL);

    for (int i = 0; i < 7; i++) {
        struct enclave instance = template;
        uint64_t retval;

        MUST(enclave_run(&instance, NULL, &retval), 0);
        MUST(retval, 100);
        MUST(instance.is_shadow, 1);
        HOLDS(instance.eid > template.eid);
    }
    MUST(enclave_destroy(&template), 0);
    MUST(enclave_run(&template, NULL, NULL), -EINVAL);
}

/* -- attest, stop, resume, destroy ------------------------------------------------------------------------------ */

ROW(others_unknown)
{
    const uint64_t eids[] = {0, 1, FIRST_EID + 5, PATTERN64, 1UL << 32};
    struct enclave normal = enclave_create("entry.elf", "entry", NORMAL, NULL), shadow = normal;
    struct report report;

    for (size_t i = 0; i < sizeof eids / sizeof *eids; i++) {
        for (int is_shadow = 0; is_shadow < 2; is_shadow++) {
            struct enclave enclave = {.fd = normal.fd, .eid = eids[i], .is_shadow = is_shadow};

            MUST(enclave_attest(&enclave, 1, &report), -EINVAL);
            MUST(enclave_stop(&enclave), -EINVAL);
            MUST(enclave_resume(&enclave), -EINVAL);
            MUST(enclave_destroy(&enclave), -EINVAL);
        }
    }
    shadow.is_shadow = 1; /* it is no instance */
    MUST(enclave_attest(&shadow, 1, &report), -EINVAL);
    MUST(enclave_stop(&shadow), -EINVAL);
    MUST(enclave_resume(&shadow), -EINVAL);
    MUST(enclave_destroy(&shadow), -EINVAL);
    must_run(&normal);
}

ROW(destroy_all_types)
{
    const enum type types[] = {NORMAL, SERVER, SHADOW};

    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 3; i++) {
            struct enclave enclave = enclave_create("instance.elf", "name", types[i], NULL);

            MUST(enclave_destroy(&enclave), 0);
            MUST(enclave_destroy(&enclave), -EINVAL);
            MUST(enclave_run(&enclave, NULL, NULL), -EINVAL);
        }
    }
}

ROW(attest_nonce)
{
    struct enclave enclave = enclave_create("entry.elf", "entry", NORMAL, NULL);
    struct report one, two, again;

    MUST(enclave_attest(&enclave, 1, &one), 0);
    MUST(one.nonce, 1);
    MUST(enclave_attest(&enclave, PATTERN64, &two), 0);
    MUST(two.nonce, PATTERN64);
    HOLDS(memcmp(one.hash, two.hash, sizeof one.hash) != 0);
    MUST(enclave_attest(&enclave, 1, &again), 0);
    HOLDS(memcmp(&one, &again, sizeof one) == 0);
    must_run(&enclave);
}

ROW(stop_not_running)
{
    struct enclave enclave = enclave_create("entry.elf", "entry", NORMAL, NULL);
    long result = enclave_stop(&enclave);

    HOLDS(result == 0 || result == -EPERM); /* the monitor's result */
    result = enclave_resume(&enclave);
    HOLDS(result == 0 || result == -EPERM);
    MUST(enclave_destroy(&enclave), 0);
}
