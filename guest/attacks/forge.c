/* Enclaves made by hand: see forge.h. */
#include "forge.h"

#include <string.h>

#define PAGE 4096UL

extern const char puppet_code[], puppet_code_end[];

uint64_t sv_take(uint64_t pages)
{
    static uint64_t used;
    struct sv_info *info = sv_start();
    uint64_t size = pages * PAGE, alignment = PAGE;

    while (alignment < size)
        alignment *= 2;
    uint64_t start = (info->free + used + alignment - 1) & -alignment;

    sv_works(start + size <= info->free + info->free_size);
    used = start + size - info->free;
    memset(at(start), 0, size);
    return start;
}

void forge(struct puppet *puppet, const char *name, uint32_t type)
{
    forge_in(puppet, sv_take(PUPPET_PAGES), name, type);
}

static void forge_at(struct puppet *puppet, uint64_t block, uint64_t host, const char *name, uint32_t type);

void forge_in(struct puppet *puppet, uint64_t block, const char *name, uint32_t type)
{
    forge_at(puppet, block, sv_take(3), name, type);
}

void forge_again(struct puppet *puppet, const char *name, uint32_t type)
{
    memset(at(puppet->block), 0, PAGE); /* all else has come back clear */
    memset(puppet->kbuffer, 0, 3 * PAGE);
    forge_at(puppet, puppet->block, (uint64_t)puppet->kbuffer, name, type);
}

/* In 64 pages there, with three pages of the host. */
static void forge_at(struct puppet *puppet, uint64_t block, uint64_t host, const char *name, uint32_t type)
{
    uint64_t page = host + 2 * PAGE, mailbox = page + 512;

    memset(puppet, 0, sizeof *puppet);
    puppet->block = block;
    puppet->size = PUPPET_PAGES * PAGE;
    puppet->kbuffer = at(host);
    puppet->command = (void *)(host + PAGE);
    puppet->params = (void *)page;
    puppet->mailbox = (void *)mailbox;
    puppet->run_params = at(page + 1024);

    at(block + PAGE)[0] = (block + 3 * PAGE) >> 12 << 10 | PTE_V;
    at(block + 3 * PAGE)[0] = (block + 4 * PAGE) >> 12 << 10 | PTE_V;
    at(block + 4 * PAGE)[1] = pte_of(block + 5 * PAGE, PTE_R | PTE_X | PTE_U);
    at(block + 4 * PAGE)[2] = pte_of(block + 6 * PAGE, PTE_R | PTE_W | PTE_U);
    memcpy(at(block + 5 * PAGE), puppet_code, (size_t)(puppet_code_end - puppet_code));

    struct create_params params = {
        .eid_pointer = mailbox + 40, .type = type, .paddr = block, .size = puppet->size, .entry = PUPPET_CODE,
        .free_mem = block + 7 * PAGE, .kbuffer = host, .kbuffer_size = PAGE, .shm_paddr = host + PAGE, .shm_size = PAGE,
        .ocall = mailbox, .arg0 = mailbox + 8, .arg1 = mailbox + 16, .syscall = mailbox + 24, .retval = mailbox + 32,
    };

    strncpy(params.name, name, sizeof params.name);
    if (type == SHADOW_TYPE)
        params.shm_paddr = params.shm_size = 0;
    *puppet->params = params;
}

struct sv_result forge_create(struct puppet *puppet)
{
    uint32_t type = puppet->params->type;
    int is_server = type == SERVER_TYPE || (type & 0xff) == CONCURRENT_SERVER_TYPE;
    long function = is_server ? CALL_CREATE_SERVER : type == SHADOW_TYPE ? CALL_CREATE_SHADOW : CALL_CREATE;
    struct sv_result result = sv_call(function, (unsigned long)puppet->params, 0, 0, 0, 0);

    if (result.error == -2) { /* the monitor wants memory for its records */
        sv_works(sv_call(CALL_EXTEND, sv_take(1), PAGE, 0, 0, 0).error == 0);
        result = sv_call(function, (unsigned long)puppet->params, 0, 0, 0, 0);
    }
    if (result.error == 0)
        puppet->eid = *(volatile uint32_t *)&puppet->mailbox->eid;
    return result;
}

struct sv_result puppet_go(struct puppet *puppet, uint64_t function, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3)
{
    volatile struct command *command = puppet->command;

    command->function = function;
    command->argument[0] = a0;
    command->argument[1] = a1;
    command->argument[2] = a2;
    command->argument[3] = a3;
    if (puppet->started)
        return sv_call(CALL_RESUME, puppet->eid, 0, 0, 0, 0);
    puppet->started = 1;
    return sv_call(CALL_RUN, puppet->eid, (uint64_t)puppet->run_params, 0, 0, 0);
}

struct sv_result puppet_answer(struct puppet *puppet, uint64_t ocall, uint64_t value, uint64_t size)
{
    return sv_call(CALL_RESUME, puppet->eid, 2, ocall, value, size);
}

void sv_not_ours(uint64_t list[NOT_OURS + 1])
{
    struct sv_info *info = sv_start();
    int count = 0;

    list[count++] = info->monitor + 4096;
    list[count++] = info->bitmap;
    list[count++] = info->pt_area + info->pt_size - PAGE;
    for (int i = ENCLAVE; i < PRIVATE_VICTIMS; i++)
        list[count++] = info->victim[i].block + (info->victim[i].size > PAGE ? PAGE : 0);
    list[count++] = info->ram - PAGE;
    list[count++] = info->ram + info->ram_size;
    list[count++] = PAGE;
    list[count++] = -PAGE;
    list[count++] = 1UL << 56 | info->free;
    list[count] = 0;
}

struct sv_result sv_set(uint64_t kind, uint64_t scratch, uint64_t slot, uint64_t pte)
{
    uint64_t *source = at(scratch);

    if (kind == SET_BATCH_SET) {
        source[0] = slot, source[1] = pte;
        return sv_call(CALL_SET_PTE, kind, 0, scratch, 1, 0);
    }
    if (kind == SET_COPY) {
        source[0] = pte;
        return sv_call(CALL_SET_PTE, kind, slot, scratch, 8, 0);
    }
    return sv_call(CALL_SET_PTE, kind, slot, pte, 0, 0);
}
