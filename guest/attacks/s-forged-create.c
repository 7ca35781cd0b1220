/* attack: the kernel creates an enclave, a server and a shadow template with every field of the parameters wrong: memory
 *         that is private, a victim's, overlapping, outside RAM, misaligned; or memory that a living enclave uses
 * stopped by: monitor check
 */
#include <string.h>

#include "forge.h"

static const size_t addresses[] = {
    offsetof(struct create_params, eid_pointer), offsetof(struct create_params, paddr),
    offsetof(struct create_params, free_mem),    offsetof(struct create_params, kbuffer),
    offsetof(struct create_params, shm_paddr),   offsetof(struct create_params, ocall),
    offsetof(struct create_params, arg0),        offsetof(struct create_params, arg1),
    offsetof(struct create_params, syscall),     offsetof(struct create_params, retval),
};
static const size_t sizes[] = {
    offsetof(struct create_params, size),
    offsetof(struct create_params, kbuffer_size),
    offsetof(struct create_params, shm_size),
};
static uint64_t not_ours[NOT_OURS + 1];

static void with(struct puppet *puppet, size_t field, uint64_t value)
{
    uint64_t *word = (uint64_t *)((char *)puppet->params + field), right = *word;

    *word = value;
    by_check(forge_create(puppet));
    *word = right;
}

static void every_field(uint32_t type)
{
    struct sv_info *info = sv_start();
    struct puppet puppet;
    struct create_params *p;

    forge(&puppet, "puppet", type);
    p = puppet.params;
    if (type == SHADOW_TYPE)
        p->shm_paddr = (uint64_t)puppet.command;
    p->shm_size = 4096;
    for (size_t f = 0; f < sizeof addresses / sizeof *addresses; f++) {
        for (int i = 0; not_ours[i]; i++)
            with(&puppet, addresses[f], not_ours[i]);
        if (addresses[f] != offsetof(struct create_params, free_mem))
            with(&puppet, addresses[f], puppet.block + 8 * 4096);
        if (addresses[f] != offsetof(struct create_params, eid_pointer))
            with(&puppet, addresses[f], *(uint64_t *)((char *)p + addresses[f]) + 1);
        with(&puppet, addresses[f], info->ram + info->ram_size - 2);
    }
    for (size_t f = 0; f < sizeof sizes / sizeof *sizes; f++) {
        static const uint64_t wrong[] = {1, 4095, 4097, 5 * 4096, 65 * 4096, 1UL << 40, -4096UL, -1UL};

        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
            if (sizes[f] != offsetof(struct create_params, shm_size) || wrong[i] % 4096 || wrong[i] > 1UL << 32)
                with(&puppet, sizes[f], wrong[i]);
    }
    with(&puppet, offsetof(struct create_params, size), 0);
    with(&puppet, offsetof(struct create_params, size), 2 * puppet.size * 512); /* over everything around it */
    with(&puppet, offsetof(struct create_params, free_mem), puppet.block);
    with(&puppet, offsetof(struct create_params, free_mem), puppet.block + puppet.size + 4096);
    with(&puppet, offsetof(struct create_params, shm_paddr), puppet.block);
    with(&puppet, offsetof(struct create_params, kbuffer), puppet.block + puppet.size - 4096);
    for (uint64_t entry = 0; entry < 5 * 4096; entry += 4096)
        if (entry != PUPPET_CODE && entry != PUPPET_DATA)
            with(&puppet, offsetof(struct create_params, entry), entry);
    with(&puppet, offsetof(struct create_params, entry), PUPPET_DATA);
    with(&puppet, offsetof(struct create_params, entry), -4096UL);
    for (int i = 0; not_ours[i]; i++) {
        long call = type == SERVER_TYPE ? CALL_CREATE_SERVER : type == SHADOW_TYPE ? CALL_CREATE_SHADOW : CALL_CREATE;
        by_check(sv_call(call, not_ours[i], 0, 0, 0, 0));
        by_check(sv_call(call, not_ours[i] - 64, 0, 0, 0, 0));
    }
    if (type == SHADOW_TYPE) {
        by_check(forge_create(&puppet)); /* a template shares nothing with the kernel */
        p->shm_size = 0;
    }
    sv_works(forge_create(&puppet).error == 0);

    struct puppet second; /* what the living one has is taken */

    forge(&second, "puppet", type);
    with(&second, offsetof(struct create_params, paddr), puppet.block);
    with(&second, offsetof(struct create_params, kbuffer), puppet.block + 6 * 4096);
    with(&second, offsetof(struct create_params, retval), puppet.block);
    if (type == SERVER_TYPE)
        by_check(forge_create(&second)); /* the name is taken */
    second.params->name[0] = 0;
    if (type == SERVER_TYPE)
        by_check(forge_create(&second)); /* no name */
    struct create_params *held = second.params;

    held->paddr = (uint64_t)puppet.kbuffer & -0x40000UL; /* a block with the other's kbuffer in it */
    held->free_mem = held->paddr + 7 * 4096;
    by_check(forge_create(&second));
}

static void other_blocks(void) /* where all is right but the place */
{
    uint64_t blocks = sv_take(2 * PUPPET_PAGES), relay = sv_take(1);
    struct puppet living, over, aside;

    forge_in(&aside, blocks + PUPPET_PAGES / 2 * 4096, "aside", NORMAL); /* not at a multiple of its size */
    by_check(forge_create(&aside));
    memset(at(blocks), 0, 2 * PUPPET_PAGES * 4096);

    forge_in(&living, blocks + PUPPET_PAGES * 4096, "living", NORMAL);
    sv_works(forge_create(&living).error == 0);
    forge_in(&over, blocks, "over", NORMAL); /* the living one is the second half of its block */
    over.params->size *= 2;
    by_check(forge_create(&over));
    over.params->size /= 2;

    memcpy(at(relay), over.params, sizeof *over.params); /* good parameters, but on a page that is private by now */
    living.run_params[0] = relay;
    living.run_params[1] = 4096;
    sv_works(puppet_go(&living, 90, 0, 0, 0, 0).value == STATUS_YIELD);
    by_check(sv_call(CALL_CREATE, relay, 0, 0, 0, 0));
    sv_works(forge_create(&over).error == 0);
}

int EAPP_ENTRY main()
{
    sv_not_ours(not_ours);
    every_field(NORMAL);
    every_field(SERVER_TYPE);
    every_field(SHADOW_TYPE);
    other_blocks();
    sv_exit(0);
}
