/* The life of an enclave, from the host's side: create, run, stop, resume, destroy, attest (ABI section 8). */
#include "internal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* The data of an enclave; for a shadow template also those of the instance that ran last. */
enum {
    NONE,    /* not created, or destroyed */
    ALIVE,   /* can be run, or is running; a template always is */
    WAITING, /* has returned its relay pages */
    ENDED,   /* has exited */
    FAILED,  /* its last run failed: it may exist no more */
};

/* For messages: the enclave's name as arguments of a "%.*s". */
#define NAME(enclave) (int)strnlen((enclave)->name, NAME_LEN), (enclave)->name

static int check(const struct PLenclave *enclave)
{
    if (enclave->eid >= 0)
        return 0;
    errno = EINVAL;
    return -1;
}

int PLenclave_init(struct PLenclave *enclave)
{
    memset(enclave, 0, sizeof *enclave);
    enclave->eid = -1;
    enclave->fd = penglai_open();
    return enclave->fd < 0 ? penglai_failed("open %s", PENGLAI_ENCLAVE_DEV_PATH) : 0;
}

int PLenclave_finalize(struct PLenclave *enclave)
{
    if (enclave->fd >= 0)
        close(enclave->fd);
    enclave->fd = -1;
    return 0;
}

int PLenclave_create(struct PLenclave *enclave, struct elf_args *elf, struct enclave_args *args)
{
    struct penglai_enclave_user_param param = {
        .type = args->type,
        .elf_ptr = (uintptr_t)elf->ptr,
        .elf_size = elf->size,
        .stack_size = args->type == SHADOW_ENCLAVE ? 0 : args->stack_size, /* instances get their own */
        .shmid = args->shmid,
        .shm_offset = args->shm_offset,
        .shm_size = args->shm_size,
    };

    memcpy(enclave->name, args->name, NAME_LEN);
    memcpy(param.name, args->name, NAME_LEN);
    if (ioctl(enclave->fd, PENGLAI_ENCLAVE_IOC_CREATE_ENCLAVE, &param) < 0)
        return penglai_failed("create enclave \"%.*s\"", NAME(enclave));
    enclave->type = args->type;
    enclave->eid = param.eid;
    enclave->state = ALIVE;
    enclave->user_param = param;
    return 0;
}

int PLenclave_run(struct PLenclave *enclave)
{
    /* A copy, as other threads may use the struct meanwhile. */
    struct penglai_enclave_user_param param = enclave->user_param;
    int shadow = enclave->type == SHADOW_ENCLAVE;

    if (shadow && !(enclave->state == WAITING && param.rerun_reason == RETURN_USER_RELAY_PAGE)) {
        param.eid = enclave->eid; /* the template, not the instance that ran last: make another one */
        param.is_shadow = 0;
        param.rerun_reason = 0;
    }
    int result = check(enclave) < 0 ? -1 : ioctl(enclave->fd, PENGLAI_ENCLAVE_IOC_RUN_ENCLAVE, &param);

    if (result < 0) {
        if (enclave->state != NONE)
            enclave->state = shadow ? ALIVE : FAILED;
        return penglai_failed("run enclave \"%.*s\"", NAME(enclave));
    }
    enclave->user_param.eid = param.eid;
    enclave->user_param.is_shadow = param.is_shadow;
    enclave->user_param.retval = param.retval;
    if (result == RELAY_PAGE)
        enclave->state = WAITING;
    else
        enclave->state = shadow ? ALIVE : ENDED;
    return result;
}

int PLenclave_stop(struct PLenclave *enclave)
{
    struct penglai_enclave_user_param param = enclave->user_param;

    if (check(enclave) < 0 || ioctl(enclave->fd, PENGLAI_ENCLAVE_IOC_STOP_ENCLAVE, &param) < 0)
        return penglai_failed("stop enclave \"%.*s\"", NAME(enclave));
    return 0;
}

int PLenclave_resume(struct PLenclave *enclave)
{
    struct penglai_enclave_user_param param = enclave->user_param;

    if (check(enclave) < 0 || ioctl(enclave->fd, PENGLAI_ENCLAVE_IOC_RESUME_ENCLAVE, &param) < 0)
        return penglai_failed("resume enclave \"%.*s\"", NAME(enclave));
    return 0;
}

static int destroy(const struct PLenclave *enclave, uint64_t eid, int is_shadow)
{
    struct penglai_enclave_user_param param = enclave->user_param;

    param.eid = eid;
    param.is_shadow = is_shadow;
    return ioctl(enclave->fd, PENGLAI_ENCLAVE_IOC_DESTROY_ENCLAVE, &param);
}

int PLenclave_destruct(struct PLenclave *enclave)
{
    int state = enclave->state;

    if (check(enclave) < 0)
        return penglai_failed("destroy enclave \"%.*s\"", NAME(enclave));
    if (enclave->type == SHADOW_ENCLAVE && state == WAITING)
        destroy(enclave, enclave->user_param.eid, 1); /* an instance that nobody will go on with */
    if (state != ENDED && destroy(enclave, enclave->eid, 0) < 0 && state != FAILED)
        return penglai_failed("destroy enclave \"%.*s\"", NAME(enclave));
    enclave->eid = -1;
    enclave->state = NONE;
    return 0;
}

int PLenclave_attest(struct PLenclave *enclave, uint64_t nonce)
{
    struct penglai_enclave_attest_param *param = &enclave->attest_param;
    int instance = enclave->type == SHADOW_ENCLAVE && enclave->state == WAITING;

    memset(param, 0, sizeof *param);
    param->eid = instance ? (int)enclave->user_param.eid : enclave->eid;
    param->is_shadow = instance;
    param->nonce = nonce;
    if (check(enclave) < 0 || ioctl(enclave->fd, PENGLAI_ENCLAVE_IOC_ATTEST_ENCLAVE, param) < 0)
        return penglai_failed("attest enclave \"%.*s\"", NAME(enclave));
    return 0;
}

int PLenclave_set_mem_arg(struct PLenclave *enclave, int id, unsigned long offset, unsigned long size)
{
    enclave->user_param.relay_id = id;
    enclave->user_param.relay_offset = offset;
    enclave->user_param.relay_size = size;
    return 0;
}

int PLenclave_set_rerun_arg(struct PLenclave *enclave, int reason)
{
    enclave->user_param.rerun_reason = reason;
    return 0;
}
