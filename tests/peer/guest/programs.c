/* Host programs as people write them: the tutorial, relay pages, shared memory, instances, storage, attestation. */
#include <pthread.h>
#include <unistd.h>

#include "peer.h"

/* tutorial CALLER SERVER [SERVER1]: as the original's test-caller. */
PROGRAM(tutorial)
{
    struct memory shared = memory_new(SHM, PAGE), relay = memory_new(RELAY, PAGE);
    int *number = memory_open(SHM, shared);
    struct enclave server, server1, caller;
    uint64_t retval, size;

    HOLDS(arguments[0] && arguments[1]);
    server = enclave_create(arguments[1], "test-server", SERVER, NULL);
    if (arguments[2])
        server1 = enclave_create(arguments[2], "test-server1", SERVER, NULL);
    *number = 11111;
    int *given = memory_open(RELAY, relay);

    *given = 22222;
    MUST(memory_detach(RELAY, relay.id, &size), 0);
    memory_unmap(given, size);
    caller = enclave_create(arguments[0], "test-caller", NORMAL, &shared);
    MUST(enclave_run(&caller, &relay, &retval), 0);
    MUST(retval, 0);
    MUST(enclave_destroy(&server), 0);
    if (arguments[2])
        MUST(enclave_destroy(&server1), 0);
    given = memory_open(RELAY, relay); /* they are back */
    MUST(*given, 22222);
    memory_close(RELAY, relay, given);
    memory_close(SHM, shared, number);
    MUST(memory_remove(RELAY, relay.id), 0);
    MUST(memory_remove(SHM, shared.id), 0);
}

/* The same, with the relay page still attached when the caller gets it. */
PROGRAM(attached)
{
    struct memory relay = memory_new(RELAY, PAGE);
    struct enclave server = enclave_create("server.elf", "test-server", SERVER, NULL);
    struct enclave caller = enclave_create("caller.elf", "test-caller", NORMAL, NULL);
    int *given = memory_open(RELAY, relay);
    uint64_t retval;

    *given = 33333;
    MUST(enclave_run(&caller, &relay, &retval), 0);
    MUST(retval, 0);
    memory_close(RELAY, relay, given); /* detach takes no part in who owns the pages */
    given = memory_open(RELAY, relay);
    MUST(*given, 33333);
    memory_close(RELAY, relay, given);
    MUST(memory_remove(RELAY, relay.id), 0);
    MUST(enclave_destroy(&server), 0);
}

PROGRAM(messages)
{
    struct enclave enclave = enclave_create("messages.elf", "messages", NORMAL, NULL);
    uint64_t retval;

    printf("before\n");
    MUST(enclave_run(&enclave, NULL, &retval), 0);
    MUST(retval, 0x600d);
    printf("after\n");
}

/* What goes to stderr, and the exit status that the program has chosen. */
PROGRAM(streams)
{
    fprintf(stderr, "this is stderr\n");
    printf("this is stdout\n");
    fflush(stdout);
    _exit(arguments[0] ? atoi(arguments[0]) : 0);
}

/* -- relay pages ------------------------------------------------------------------------------------------------ */

/* Each first word gets its value; then the pages are let go. */
static void fill_pages(struct memory relay, uint64_t value)
{
    uint64_t *words = memory_open(RELAY, relay);

    for (uint64_t i = 0; i < relay.size / PAGE; i++)
        words[i * PAGE / 8] = value + i;
    memory_close(RELAY, relay, words);
}

static void check_pages(struct memory relay, uint64_t value)
{
    uint64_t *words = memory_open(RELAY, relay);

    for (uint64_t i = 0; i < relay.size / PAGE; i++)
        MUST(words[i * PAGE / 8], value + i);
    memory_close(RELAY, relay, words);
}

/* Returned and re-run, three times, with these pages and with those. */
static void rerun(enum type type)
{
    struct memory one = memory_new(RELAY, 3 * PAGE), two = memory_new(RELAY, 3 * PAGE);
    struct enclave enclave = enclave_create("relayer.elf", "relayer", type, NULL);
    uint64_t retval;

    fill_pages(one, 100);
    fill_pages(two, 200);
    MUST(enclave_run(&enclave, &one, NULL), RELAY_PAGE);
    MUST(enclave.is_shadow, type == SHADOW);
    check_pages(one, 101);
    MUST(enclave_again(&enclave, &two, NULL), RELAY_PAGE);
    check_pages(one, 101);
    check_pages(two, 201);
    MUST(enclave_again(&enclave, &one, NULL), RELAY_PAGE);
    check_pages(one, 102);
    MUST(enclave_again(&enclave, &two, &retval), 0);
    MUST(retval, 201);
    check_pages(two, 201);
    HOLDS(enclave_again(&enclave, &one, NULL) < 0);
    MUST(memory_remove(RELAY, one.id), 0);
    MUST(memory_remove(RELAY, two.id), 0);
}

PROGRAM(relay_rerun)
{
    rerun(NORMAL);
}

PROGRAM(relay_rerun_instance)
{
    rerun(SHADOW);
}

PROGRAM(relay_part)
{
    struct memory all = memory_new(RELAY, 4 * PAGE), part = {all.id, PAGE, 2 * PAGE};
    struct enclave enclave = enclave_create("collector.elf", "part", NORMAL, NULL);
    uint64_t retval, *words;

    fill_pages(all, 10);
    MUST(enclave_run(&enclave, &part, &retval), 0);
    MUST(retval, 11 + 12);
    words = memory_open(RELAY, all);
    MUST(words[0], 10);
    MUST(words[PAGE / 8], 1011);
    MUST(words[2 * PAGE / 8], 1012);
    MUST(words[3 * PAGE / 8], 13);
    memory_close(RELAY, all, words);
    MUST(memory_remove(RELAY, all.id), 0);
}

/* One that waits with its pages returned is destroyed; one that runs no more is no obstacle to its pages. */
PROGRAM(relay_destroyed)
{
    struct memory relay = memory_new(RELAY, PAGE);
    struct enclave enclave = enclave_create("relayer.elf", "relayer", NORMAL, NULL);

    fill_pages(relay, 1);
    MUST(enclave_run(&enclave, &relay, NULL), RELAY_PAGE);
    MUST(enclave_destroy(&enclave), 0);
    MUST(enclave_again(&enclave, &relay, NULL), -EINVAL);
    check_pages(relay, 2);
    enclave = enclave_create("relayer.elf", "relayer", NORMAL, NULL);
    MUST(enclave_run(&enclave, &relay, NULL), RELAY_PAGE);
    MUST(memory_remove(RELAY, relay.id), 0);
}

/* Names must be unique among those with relay pages; a refused run leaves everything where it was. */
PROGRAM(relay_name_taken)
{
    struct memory relay = memory_new(RELAY, PAGE);
    struct enclave one = enclave_create("collector.elf", "name", NORMAL, NULL);
    struct enclave two = enclave_create("collector.elf", "name", NORMAL, NULL);
    uint64_t retval;

    fill_pages(relay, 5);
    MUST(enclave_run(&one, &relay, NULL), -EFAULT);
    check_pages(relay, 5);
    MUST(enclave_destroy(&two), 0);
    MUST(enclave_run(&one, &relay, &retval), 0);
    MUST(retval, 5);
    check_pages(relay, 1005);
}

/* The tutorial of relay pages: half of them passed on, and one returned. */
PROGRAM(relay_example)
{
    struct memory relay = memory_new(RELAY, 3 * PAGE), first = {relay.id, 0, PAGE};
    struct enclave enclave = enclave_create("relay.elf", "relay-first", NORMAL, NULL);
    struct enclave next = enclave_create("relay.elf", "relay-next", NORMAL, NULL);
    uint64_t retval;

    fill_pages(relay, 500);
    MUST(enclave_run(&enclave, &relay, NULL), RELAY_PAGE);
    MUST(enclave_again(&enclave, &first, &retval), 0);
    MUST(retval, 0);
    MUST(enclave_destroy(&next), 0);
}

/* Asynchronous calls to a name, and collecting them: the receiver is created before, or after. */
static void asynchronous(int before)
{
    struct memory relay = memory_new(RELAY, 4 * PAGE);
    struct enclave collector, sender = enclave_create("sender.elf", "sender", NORMAL, NULL);
    uint64_t retval, *words;

    if (before)
        collector = enclave_create("collector.elf", "collector", NORMAL, NULL);
    fill_pages(relay, 100);
    MUST(enclave_run(&sender, &relay, &retval), 0);
    MUST(retval, 0x600d);
    if (!before)
        collector = enclave_create("collector.elf", "collector", NORMAL, NULL);
    MUST(enclave_collect(&collector, &retval), 0);
    MUST(retval, 101 + 102 + 103);
    words = memory_open(RELAY, relay);
    MUST(words[0], 1100); /* the sender kept this one to its exit */
    for (int i = 1; i < 4; i++)
        MUST(words[i * PAGE / 8], 1100 + i);
    memory_close(RELAY, relay, words);
    MUST(memory_remove(RELAY, relay.id), 0);
}

PROGRAM(asynchronous_before)
{
    asynchronous(1);
}

PROGRAM(asynchronous_after)
{
    asynchronous(0);
    asynchronous(0);
}

/* Two senders, one collector; and one that finds nothing. */
PROGRAM(asynchronous_two)
{
    struct memory one = memory_new(RELAY, 4 * PAGE), two = memory_new(RELAY, 4 * PAGE);
    struct enclave first = enclave_create("sender.elf", "first", NORMAL, NULL);
    struct enclave second = enclave_create("sender.elf", "second", NORMAL, NULL);
    struct enclave collector = enclave_create("collector.elf", "collector", NORMAL, NULL);
    uint64_t retval;

    fill_pages(one, 100);
    fill_pages(two, 200);
    MUST(enclave_run(&first, &one, NULL), 0);
    MUST(enclave_run(&second, &two, NULL), 0);
    MUST(enclave_collect(&collector, &retval), 0);
    MUST(retval, 101 + 102 + 103 + 201 + 202 + 203);
    collector = enclave_create("collector.elf", "collector", NORMAL, NULL);
    MUST(enclave_collect(&collector, &retval), 0);
    MUST(retval, 0);
    MUST(memory_remove(RELAY, one.id), 0);
    MUST(memory_remove(RELAY, two.id), 0);
}

/* -- shared memory ---------------------------------------------------------------------------------------------- */

#define LARGE (32UL << 20) /* so that what is not given back is missed before long */

struct sharing {
    struct memory memory;
    volatile uint64_t *words;
    struct enclave enclave;
    uint64_t size;
    int removed;
};

static void let_detach(struct sharing *sharing)
{
    MUST(memory_detach(SHM, sharing->memory.id, &sharing->size), 0);
    MUST(sharing->size, LARGE);
    MUST(sharing->words[3], 33);
}

static void let_remove(struct sharing *sharing)
{
    MUST(memory_remove(SHM, sharing->memory.id), 0);
}

static void let_run(struct sharing *sharing)
{
    uint64_t retval;

    MUST(enclave_run(&sharing->enclave, NULL, &retval), 0);
    MUST(retval, 55);
}

static void let_destroy(struct sharing *sharing)
{
    MUST(enclave_destroy(&sharing->enclave), 0);
}

typedef void step(struct sharing *);

/* Detached, removed, and given up by an enclave, in this order or that; unmapped at once after the detach, or last. */
static void share(step *steps[3], int unmap_last)
{
    struct sharing sharing = {.memory = memory_new(SHM, LARGE)};
    void *address;

    MUST(sharing.memory.id, FIRST_ID);
    sharing.words = memory_open(SHM, sharing.memory);
    MUST(sharing.words[3], 0);
    sharing.words[1] = 1;
    sharing.words[2] = 55;
    sharing.words[3] = 33;
    sharing.enclave = enclave_create("entry.elf", "entry", NORMAL, &sharing.memory);
    for (int i = 0; i < 3; i++) {
        steps[i](&sharing);
        if (steps[i] == let_detach && !unmap_last)
            memory_unmap((void *)sharing.words, sharing.size);
    }
    if (unmap_last) {
        MUST(sharing.words[3], 33);
        memory_unmap((void *)sharing.words, sharing.size);
    }
    MUST(memory_attach(SHM, sharing.memory.id, &address), -EPERM);
    enclave_close(&sharing.enclave);
}

PROGRAM(shared_orders)
{
    for (int unmap_last = 0; unmap_last < 2; unmap_last++) {
        for (int end = 0; end < 2; end++) {
            step *all[3] = {let_detach, let_remove, end ? let_run : let_destroy};

            for (int i = 0; i < 3; i++) {
                step *one[3] = {all[i], all[(i + 1) % 3], all[(i + 2) % 3]};
                step *other[3] = {all[i], all[(i + 2) % 3], all[(i + 1) % 3]};

                share(one, unmap_last);
                share(other, unmap_last);
            }
        }
    }
    for (int i = 0; i < 40; i++) {
        struct memory relay = memory_new(RELAY, LARGE);
        uint64_t *words = memory_open(RELAY, relay);

        MUST(words[LARGE / 8 - 1], 0);
        words[LARGE / 8 - 1] = 1;
        memory_close(RELAY, relay, words);
        MUST(memory_remove(RELAY, relay.id), 0);
    }
}

/* Several enclaves may name the same id. */
PROGRAM(shared_by_two)
{
    struct memory shared = memory_new(SHM, 2 * PAGE);
    struct memory low = {shared.id, 0, PAGE}, high = {shared.id, PAGE, PAGE};
    volatile uint64_t *words = memory_open(SHM, shared), *second = words + PAGE / 8;
    struct enclave all = enclave_create("entry.elf", "all", NORMAL, &shared);
    struct enclave one = enclave_create("entry.elf", "one", NORMAL, &low);
    struct enclave two = enclave_create("entry.elf", "two", NORMAL, &high);
    uint64_t retval;

    words[1] = second[1] = 1;
    words[2] = 10;
    second[2] = 20;
    MUST(enclave_run(&two, NULL, &retval), 0);
    MUST(retval, 20);
    MUST(enclave_run(&all, NULL, &retval), 0);
    MUST(retval, 10);
    MUST(enclave_run(&one, NULL, &retval), 0);
    MUST(retval, 10);
    MUST(words[9], PAGE);
    MUST(second[9], PAGE);
    memory_close(SHM, shared, (void *)words);
    MUST(memory_remove(SHM, shared.id), 0);
}

/* -- instances --------------------------------------------------------------------------------------------------- */

#define MOST 100

static struct enclave template;
static uint64_t eids[MOST];

static void *run_instance(void *number)
{
    struct enclave instance = template;
    uint64_t retval;

    instance.fd = device_open();
    MUST(enclave_run(&instance, NULL, &retval), 0);
    MUST(retval, 100);
    MUST(instance.is_shadow, 1);
    eids[(uint64_t *)number - eids] = instance.eid;
    enclave_close(&instance);
    return NULL;
}

/* fork COUNT: as many instances at once, each run by a thread of its own. */
PROGRAM(fork_host)
{
    int count = arguments[0] ? atoi(arguments[0]) : 1;
    pthread_t threads[MOST];

    HOLDS(count > 0 && count <= MOST);
    template = enclave_create("instance.elf", "template", SHADOW, NULL);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < count; i++)
            MUST(pthread_create(&threads[i], NULL, run_instance, &eids[i]), 0);
        for (int i = 0; i < count; i++)
            MUST(pthread_join(threads[i], NULL), 0);
        for (int i = 0; i < count; i++) {
            HOLDS(eids[i] > template.eid);
            for (int j = 0; j < i; j++)
                HOLDS(eids[i] != eids[j]);
        }
    }
    MUST(enclave_destroy(&template), 0);
    MUST(enclave_destroy(&template), -EINVAL);
}

/* The original's fork-host with the example enclave: its counter is 41 in each, and 42 at the end. */
PROGRAM(fork_example)
{
    struct enclave shadow = enclave_create("shadow.elf", "shadow", SHADOW, NULL);

    for (int i = 0; i < 3; i++) {
        struct enclave instance = shadow;
        uint64_t retval;

        MUST(enclave_run(&instance, NULL, &retval), 0);
        MUST(retval, 42);
    }
    MUST(enclave_destroy(&shadow), 0);
}

/* -- storage ----------------------------------------------------------------------------------------------------- */

/* sectors RUNS: a disk under an enclave. RUNS is what the enclave must have counted at its first run here. */
PROGRAM(sectors)
{
    struct memory shared = memory_new(SHM, PAGE);
    uint64_t first = arguments[0] ? strtoul(arguments[0], NULL, 0) : 1;
    int32_t id = shared.id;

    MUST(device_once(PERSISTENCY, &id), 0);
    for (uint64_t run = first; run < first + 3; run++) {
        struct enclave enclave = enclave_create("disk.elf", "disk", NORMAL, &shared);
        uint64_t retval;

        MUST(enclave_run(&enclave, NULL, &retval), 0);
        MUST(retval, run);
    }
    MUST(memory_remove(SHM, shared.id), 0);
}

/* Nothing is named for persistency: the ocalls are refused, and nothing else happens. */
PROGRAM(sectors_unnamed)
{
    struct memory shared = memory_new(SHM, PAGE);
    struct enclave enclave = enclave_create("disk.elf", "disk", NORMAL, &shared);
    uint64_t retval;

    MUST(enclave_run(&enclave, NULL, &retval), 0);
    MUST(retval, 0xd15c);
}

static struct enclave file_server(void)
{
    struct memory shared = memory_new(SHM, PAGE);
    int32_t id = shared.id;

    MUST(device_once(PERSISTENCY, &id), 0);
    return enclave_create("fs-server.elf", "filesystem", SERVER, &shared);
}

/* files: the example file system and its client, twice. */
PROGRAM(files)
{
    struct enclave server = file_server();

    for (int i = 0; i < 2; i++) {
        struct enclave client = enclave_create("fs-client.elf", "client", NORMAL, NULL);
        uint64_t retval;

        MUST(enclave_run(&client, NULL, &retval), 0);
        MUST(retval, 0);
    }
    MUST(enclave_destroy(&server), 0);
    server = enclave_create("fs-server.elf", "filesystem", SERVER, &(struct memory){FIRST_ID, 0, PAGE});

    struct enclave client = enclave_create("fs-client.elf", "client", NORMAL, NULL);

    MUST(enclave_run(&client, NULL, NULL), 0); /* the disk is the same for another server */
}

/* store RUNS: keys in a file, sealed with the storage key. The thief has another measurement, and so another key. */
PROGRAM(store)
{
    uint64_t first = arguments[0] ? strtoul(arguments[0], NULL, 0) : 1, retval;
    struct enclave thief;

    file_server();
    for (uint64_t run = first; run < first + 2; run++) {
        struct enclave vault = enclave_create("vault.elf", "vault", NORMAL, NULL);

        MUST(enclave_run(&vault, NULL, &retval), 0);
        MUST(retval, run);
    }
    thief = enclave_create("vault-thief.elf", "vault", NORMAL, NULL);
    MUST(enclave_run(&thief, NULL, &retval), 0);
    MUST(retval, 0x5ea1);
}

/* An enclave that never ends, and a program that waits for it. */
PROGRAM(forever)
{
    struct enclave enclave = enclave_create("spin.elf", "spin", NORMAL, NULL);

    printf("running\n");
    enclave_run(&enclave, NULL, NULL);
}

/* -- attestation -------------------------------------------------------------------------------------------------- */

static void show(const char *name, const struct enclave *enclave, uint64_t nonce)
{
    struct report report;

    memset(&report, PATTERN, sizeof report);
    MUST(enclave_attest(enclave, nonce, &report), 0);
    MUST(report.nonce, nonce);
    printf("report %s ", name);
    for (size_t i = 0; i < sizeof report; i++)
        printf("%02x", ((unsigned char *)&report)[i]);
    printf("\n");
}

/* attest: reports of a normal enclave, a server, and an instance that waits; the test verifies them. */
PROGRAM(attest)
{
    struct memory relay = memory_new(RELAY, PAGE);
    struct enclave normal = enclave_create("relayer.elf", "normal", NORMAL, NULL);
    struct enclave server = enclave_create("service.elf", "service", SERVER, NULL);
    struct enclave instance = enclave_create("relayer.elf", "template", SHADOW, NULL);

    show("normal", &normal, 0x1234);
    show("server", &server, PATTERN64);
    MUST(enclave_run(&instance, &relay, NULL), RELAY_PAGE);
    MUST(instance.is_shadow, 1);
    show("instance", &instance, 3);
    show("instance", &instance, 4);
    MUST(enclave_destroy(&instance), 0);
}
