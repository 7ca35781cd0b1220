/* Enclaves, shared memory and relay pages: section 8 of the document, with every field that it allows left undefined. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "peer.h"

#define DEFAULT_STACK (64 << 10)

struct image read_file(const char *path)
{
    int fd = open(path, O_RDONLY);
    struct stat about;

    if (fd < 0)
        differ(__FILE__, __LINE__, path, -errno, 3);
    MUST(fstat(fd, &about), 0);

    struct image image = {malloc(about.st_size), about.st_size};

    HOLDS(image.bytes);
    for (size_t done = 0; done < image.size;) {
        ssize_t got = read(fd, (char *)image.bytes + done, image.size - done);

        HOLDS(got > 0);
        done += got;
    }
    MUST(close(fd), 0);
    return image;
}

static struct user_param undefined(void)
{
    struct user_param param;

    memset(&param, PATTERN, sizeof param);
    return param;
}

/* A name of 16 bytes has no NUL; what is behind the NUL of a shorter one is left undefined. */
static void set_name(char to[16], const char *name)
{
    size_t length = strnlen(name, 16);

    memcpy(to, name, length < 16 ? length + 1 : 16);
}

struct user_param create_param(struct image elf, const char *name, enum type type, const struct memory *shm)
{
    struct user_param param = undefined();

    set_name(param.name, name);
    param.type = type;
    param.elf_ptr = (uint64_t)elf.bytes;
    param.elf_size = elf.size;
    param.stack_size = type == SHADOW ? 0 : DEFAULT_STACK;
    if (shm) { /* else: an id that does not exist */
        param.shmid = shm->id;
        param.shm_offset = shm->offset;
        param.shm_size = shm->size;
    }
    return param;
}

struct user_param eid_param(const struct enclave *enclave)
{
    struct user_param param = undefined();

    param.eid = enclave->eid;
    param.is_shadow = enclave->is_shadow;
    return param;
}

struct user_param run_param(const struct enclave *enclave, const struct memory *relay, int32_t rerun_reason)
{
    struct user_param param = eid_param(enclave);

    memcpy(param.name, enclave->name, sizeof param.name);
    param.rerun_reason = rerun_reason;
    param.relay_id = relay ? relay->id : 0;
    param.relay_size = relay ? relay->size : 0;
    if (relay)
        param.relay_offset = relay->offset;
    return param;
}

#define SAME(field) HOLDS(memcmp(&sent->field, &got->field, sizeof sent->field) == 0)

/* The whole struct comes back: what the table does not name is as it was. */
static void check_the_rest(const struct user_param *sent, const struct user_param *got)
{
    SAME(name);
    SAME(type);
    SAME(elf_ptr);
    SAME(elf_size);
    SAME(stack_size);
    SAME(shmid);
    SAME(shm_offset);
    SAME(shm_size);
    SAME(relay_id);
    SAME(rerun_reason);
    SAME(relay_offset);
    SAME(relay_size);
}

struct enclave enclave_create(const char *path, const char *name, enum type type, const struct memory *shm)
{
    struct image elf = read_file(path);
    struct user_param param = create_param(elf, name, type, shm), sent = param;
    struct enclave enclave = {.fd = device_open()};

    MUST(device(enclave.fd, CREATE, &param), 0);
    check_the_rest(&sent, &param);
    MUST(param.is_shadow, sent.is_shadow);
    MUST(param.retval, sent.retval);
    HOLDS(param.eid >= FIRST_EID && param.eid != PATTERN64);
    enclave.eid = param.eid;
    set_name(enclave.name, name);
    free(elf.bytes);
    return enclave;
}

static long run(struct enclave *enclave, struct user_param param, uint64_t *retval)
{
    struct user_param sent = param;
    long result = device(enclave->fd, RUN, &param);

    if (result >= 0) {
        check_the_rest(&sent, &param);
        MUST(param.is_shadow, param.eid != sent.eid ? 1 : sent.is_shadow);
        enclave->eid = param.eid;
        enclave->is_shadow = param.is_shadow;
    }
    if (retval)
        *retval = param.retval;
    return result;
}

long enclave_run(struct enclave *enclave, const struct memory *relay, uint64_t *retval)
{
    return run(enclave, run_param(enclave, relay, 0), retval);
}

long enclave_again(struct enclave *enclave, const struct memory *relay, uint64_t *retval)
{
    return run(enclave, run_param(enclave, relay, 1), retval);
}

long enclave_collect(struct enclave *enclave, uint64_t *retval)
{
    struct user_param param = run_param(enclave, NULL, 0);

    param.relay_id = FIRST_ID;
    return run(enclave, param, retval);
}

static long simple(const struct enclave *enclave, unsigned long request)
{
    struct user_param param = eid_param(enclave);

    return device(enclave->fd, request, &param);
}

long enclave_stop(const struct enclave *enclave)
{
    return simple(enclave, STOP);
}

long enclave_resume(const struct enclave *enclave)
{
    return simple(enclave, RESUME);
}

long enclave_destroy(const struct enclave *enclave)
{
    return simple(enclave, DESTROY);
}

long enclave_attest(const struct enclave *enclave, uint64_t nonce, struct report *report)
{
    struct attest_param param;

    memset(&param, PATTERN, sizeof param);
    param.eid = enclave->eid;
    param.is_shadow = enclave->is_shadow;
    param.nonce = nonce;

    long result = device(enclave->fd, ATTEST, &param);

    *report = param.report;
    return result;
}

void enclave_close(struct enclave *enclave)
{
    MUST(close(enclave->fd), 0);
    enclave->fd = -1;
}

long memory_get(unsigned long kind, uint64_t size)
{
    struct get_param param;

    memset(&param, PATTERN, sizeof param);
    param.key = 0;
    param.size = size;
    param.flags = 0;
    return device_once(GET(kind), &param);
}

long memory_attach(unsigned long kind, int32_t id, void **address)
{
    struct attach_param param;
    int fd = device_open();
    long error;

    memset(&param, PATTERN, sizeof param);
    param.id = id;

    long result = device(fd, ATTACH(kind), &param);

    if (result == 0) {
        HOLDS(param.size != PATTERN64);
        *address = device_map(fd, param.size, &error);
        MUST(error, 0);
        result = param.size;
    }
    MUST(close(fd), 0);
    return result;
}

long memory_detach(unsigned long kind, int32_t id, uint64_t *size)
{
    struct detach_param param;

    memset(&param, PATTERN, sizeof param);
    param.id = id;

    long result = device_once(DETACH(kind), &param);

    *size = param.size;
    return result;
}

long memory_remove(unsigned long kind, int32_t id)
{
    return device_once(REMOVE(kind), &id);
}

void memory_unmap(void *address, uint64_t size)
{
    MUST(munmap(address, size), 0);
}

struct memory memory_new(unsigned long kind, uint64_t size)
{
    long id = memory_get(kind, size);

    HOLDS(id >= FIRST_ID);
    return (struct memory){.id = id, .size = size};
}

void *memory_open(unsigned long kind, struct memory memory)
{
    void *address = NULL;

    MUST(memory_attach(kind, memory.id, &address), memory.size);
    return address;
}

void memory_close(unsigned long kind, struct memory memory, void *address)
{
    uint64_t size;

    MUST(memory_detach(kind, memory.id, &size), 0);
    MUST(size, memory.size);
    memory_unmap(address, size);
}
