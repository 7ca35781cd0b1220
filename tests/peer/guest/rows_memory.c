/* The rows of the table for shared memory, relay pages and persistency. */
#include <sys/mman.h>
#include <unistd.h>

#include "peer.h"

static void get(unsigned long kind)
{
    const uint64_t wrong[] = {0, 1, 100, PAGE - 1, PAGE + 1, PATTERN64};
    long ids[4];

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        MUST(memory_get(kind, wrong[i]), -EPERM);
    for (int i = 0; i < 4; i++)
        MUST(ids[i] = memory_get(kind, (i + 1) * PAGE), FIRST_ID + i);
    MUST(memory_remove(kind, ids[1]), 0);
    MUST(memory_remove(kind, ids[2]), 0);
    MUST(memory_get(kind, PAGE), FIRST_ID + 1); /* the lowest free one */
    MUST(memory_get(kind, PAGE), FIRST_ID + 2);
    MUST(memory_get(kind, PAGE), FIRST_ID + 4);
}

ROW(shm_get)
{
    get(SHM);
}

ROW(relay_get)
{
    get(RELAY);
}

/* Each has its own ids. */
ROW(memory_ids)
{
    MUST(memory_get(SHM, PAGE), FIRST_ID);
    MUST(memory_get(RELAY, PAGE), FIRST_ID);
    MUST(memory_remove(SHM, FIRST_ID), 0);
    MUST(memory_get(RELAY, PAGE), FIRST_ID + 1);
    MUST(memory_get(SHM, PAGE), FIRST_ID);
}

static void unknown(unsigned long kind)
{
    const int32_t ids[] = {0, 1, -1, FIRST_ID, FIRST_ID + 1, (int32_t)PATTERN64};

    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        void *address;
        uint64_t size;

        MUST(memory_attach(kind, ids[i], &address), -EPERM);
        MUST(memory_detach(kind, ids[i], &size), -EPERM);
        MUST(memory_remove(kind, ids[i]), -EPERM);
    }
}

ROW(shm_unknown)
{
    unknown(SHM);
}

ROW(relay_unknown)
{
    unknown(RELAY);
}

static long attach(unsigned long kind, int fd, int32_t id, uint64_t *size)
{
    struct attach_param param;

    memset(&param, PATTERN, sizeof param);
    param.id = id;

    long result = device(fd, ATTACH(kind), &param);

    *size = param.size;
    return result;
}

static void map(unsigned long kind)
{
    struct memory memory = memory_new(kind, 4 * PAGE);
    int fd = device_open();
    volatile char *address, *part;
    uint64_t size;
    long error;

    HOLDS(!device_map(fd, PAGE, &error));
    MUST(error, -EPERM); /* nothing is attached */
    MUST(attach(kind, fd, memory.id, &size), 0);
    MUST(size, 4 * PAGE);
    HOLDS(!device_map(fd, 5 * PAGE, &error));
    MUST(error, -EPERM); /* more than there is */
    address = device_map(fd, 4 * PAGE, &error);
    MUST(error, 0);
    for (uint64_t i = 0; i < 4 * PAGE; i++)
        MUST(address[i], 0);
    address[0] = 1;
    address[4 * PAGE - 1] = 2;
    memory_close(kind, memory, (void *)address);

    /* Less than all of it may be mapped. */
    int another = device_open();

    MUST(attach(kind, another, memory.id, &size), 0);
    part = device_map(another, PAGE, &error);
    MUST(error, 0);
    MUST(part[0], 1);
    MUST(memory_detach(kind, memory.id, &size), 0);
    MUST(size, 4 * PAGE);
    memory_unmap((void *)part, PAGE);
    MUST(memory_remove(kind, memory.id), 0);
    MUST(close(fd), 0);
    MUST(close(another), 0);
}

ROW(shm_map)
{
    map(SHM);
}

ROW(relay_map)
{
    map(RELAY);
}

/* Detach unmaps nothing, and the open file maps nothing any more. */
static void detach(unsigned long kind)
{
    struct memory memory = memory_new(kind, 2 * PAGE);
    struct detach_param param;
    int fd = device_open();
    uint64_t size;
    long error;

    MUST(memory_detach(kind, memory.id, &size), -EPERM); /* not attached */
    MUST(attach(kind, fd, memory.id, &size), 0);

    volatile uint64_t *words = device_map(fd, 2 * PAGE, &error);

    MUST(error, 0);
    words[0] = 77;
    memset(&param, PATTERN, sizeof param);
    param.id = memory.id;
    MUST(device(fd, DETACH(kind), &param), 0);
    MUST(param.size, 2 * PAGE);
    HOLDS(!device_map(fd, PAGE, &error));
    MUST(error, -EPERM);
    MUST(words[0], 77);
    words[1] = 78;
    memory_unmap((void *)words, param.size);
    MUST(memory_detach(kind, memory.id, &size), -EPERM);

    words = memory_open(kind, memory);
    MUST(words[0], 77);
    MUST(words[1], 78);
    memory_close(kind, memory, (void *)words);
    MUST(memory_remove(kind, memory.id), 0);
    MUST(memory_remove(kind, memory.id), -EPERM);
    MUST(close(fd), 0);
}

ROW(shm_detach)
{
    detach(SHM);
}

ROW(relay_detach)
{
    detach(RELAY);
}

ROW(shm_attached_twice)
{
    struct memory memory = memory_new(SHM, PAGE);
    volatile uint64_t *one = memory_open(SHM, memory), *two = memory_open(SHM, memory);

    one[0] = 5;
    MUST(two[0], 5);
    memory_close(SHM, memory, (void *)one);
    MUST(two[0], 5);
    memory_close(SHM, memory, (void *)two);
    MUST(memory_remove(SHM, memory.id), 0);
}

/* Relay pages are in one place. */
ROW(relay_attached_once)
{
    struct memory memory = memory_new(RELAY, PAGE);
    void *address = memory_open(RELAY, memory), *other;

    MUST(memory_attach(RELAY, memory.id, &other), -EPERM);
    MUST(memory_remove(RELAY, memory.id), -EPERM); /* still attached */
    memory_close(RELAY, memory, address);
    address = memory_open(RELAY, memory);
    memory_close(RELAY, memory, address);
    MUST(memory_remove(RELAY, memory.id), 0);
    MUST(memory_attach(RELAY, memory.id, &other), -EPERM);
}

/* What is attached or mapped stays until it is let go. */
ROW(shm_removed_while_attached)
{
    struct memory memory = memory_new(SHM, PAGE), other;
    volatile uint64_t *words = memory_open(SHM, memory), *others;
    uint64_t size;

    words[0] = 5;
    MUST(memory_remove(SHM, memory.id), 0);
    other = memory_new(SHM, PAGE);
    others = memory_open(SHM, other);
    MUST(others[0], 0);
    others[0] = 6;
    MUST(words[0], 5);
    MUST(memory_detach(SHM, memory.id, &size), 0);
    MUST(size, PAGE);
    MUST(words[0], 5);
    memory_unmap((void *)words, size);
    MUST(others[0], 6);
}

ROW(shm_removed_while_mapped)
{
    struct memory memory = memory_new(SHM, PAGE), other;
    volatile uint64_t *words = memory_open(SHM, memory), *others;
    uint64_t size;

    words[0] = 5;
    MUST(memory_detach(SHM, memory.id, &size), 0);
    MUST(memory_remove(SHM, memory.id), 0);
    other = memory_new(SHM, PAGE);
    others = memory_open(SHM, other);
    MUST(others[0], 0);
    others[0] = 6;
    MUST(words[0], 5);
    memory_unmap((void *)words, size);
    MUST(others[0], 6);
}

ROW(persistency)
{
    const int32_t wrong[] = {0, 1, -1, FIRST_ID - 1, (int32_t)PATTERN64};
    int32_t id;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        id = wrong[i];
        MUST(device_once(PERSISTENCY, &id), -EPERM);
    }
    id = FIRST_ID + 9;
    MUST(device_once(PERSISTENCY, &id), 0); /* the only check is the lowest number */
    id = memory_get(SHM, PAGE);
    MUST(device_once(PERSISTENCY, &id), 0);
}
