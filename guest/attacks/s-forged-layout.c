/* attack: the kernel builds page tables for an enclave that map a victim, the monitor, host memory, the tables themselves,
 *         one page twice, huge or global or unreadable pages, pages where others belong; or whose tables lie elsewhere; for a
 *         concurrent server a stack that slots could not have alike, more slots than there are, or no room for them
 * stopped by: monitor check
 */
#include "forge.h"

#define PAGE 4096UL

static struct puppet puppet;

static void with(uint64_t slot, uint64_t entry)
{
    uint64_t right = *at(slot);

    *at(slot) = entry;
    by_check(forge_create(&puppet));
    *at(slot) = right;
}

static uint64_t to(uint64_t table) { return table >> 12 << 10 | PTE_V; }

/* The stack of a concurrent server is one piece, below its end, to be written and not executed. */
static void slots(void)
{
    forge(&puppet, "slots", WITH_SLOTS(2));
    uint64_t block = puppet.block, middle = block + 8 * PAGE, leaf = block + 9 * PAGE, rw = PTE_R | PTE_W | PTE_U;
    uint64_t pages[] = {pte_of(block + 10 * PAGE, rw), pte_of(block + 11 * PAGE, rw)};
    uint64_t end = leaf + PAGE, room = 0; /* for 2 tables for kbuffer and memory each; of a slot 4 pages, stack and tables of it */

    puppet.params->free_mem = block + 12 * PAGE;
    at(block + PAGE)[(EAPP_STACK_TOP - 1) >> 30] = to(middle);
    at(middle)[511] = to(leaf);
    *at(end - 8) = pages[0], *at(end - 16) = pages[1];
    with(end - 8, 0);
    with(end - 8, pages[0] | PTE_X);
    with(end - 16, pages[1] & ~(uint64_t)PTE_W);
    with(end - 16, pages[1] | PTE_X);
    with(end - 24, pte_of(block + 7 * PAGE, PTE_R | PTE_U));
    with(end - 32, pte_of(block + 7 * PAGE, rw));
    with(leaf, pte_of(block + 7 * PAGE, rw));

    static const uint32_t wrong[] = {WITH_SLOTS(65), WITH_SLOTS(255), WITH_SLOTS(256), WITH_SLOTS(0xffffff)};

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        puppet.params->type = wrong[i];
        by_check(forge_create(&puppet));
    }
    puppet.params->type = WITH_SLOTS(2);
    for (; room < 12 * PAGE; room += PAGE) {
        puppet.params->free_mem = block + puppet.size - room;
        by_check(forge_create(&puppet));
    }
    puppet.params->free_mem = block + puppet.size - room;
    *at(end - 8) &= ~(uint64_t)PTE_D; /* as if nobody had written there, but the kernel has */
    *at(block + 10 * PAGE) = 1;
    sv_works(forge_create(&puppet).error == 0);

    struct puppet client;

    forge(&client, "client", NORMAL);
    sv_works(forge_create(&client).error == 0);
    for (int i = 0; i < 2; i++) {
        puppet.command->function = PUPPET_LOAD;
        puppet.command->argument[0] = EAPP_STACK_TOP - PAGE;
        sv_works(puppet_go(&client, 96, puppet.eid, PUPPET_DATA, 0, 0).value == STATUS_YIELD);
        if (i)
            sv_stopped('M', puppet.command->result == 0);
        puppet.command->function = 95;
        puppet.command->argument[0] = PUPPET_DATA;
        sv_works(sv_call(CALL_RESUME, client.eid, 0, 0, 0, 0).value == STATUS_YIELD);
    }
}

int EAPP_ENTRY main()
{
    uint64_t elsewhere[NOT_OURS + 1], rw = PTE_R | PTE_W | PTE_U;

    sv_not_ours(elsewhere);
    for (uint32_t type = NORMAL; type <= SHADOW_TYPE; type++) {
        forge(&puppet, "puppet", type);
        uint64_t block = puppet.block, root = block + PAGE, middle = block + 3 * PAGE, leaf = block + 4 * PAGE;
        uint64_t own = block + 6 * PAGE, free = block + 9 * PAGE;

        puppet.params->free_mem = block + 12 * PAGE;
        for (int i = 0; elsewhere[i]; i++) {
            with(leaf + 5 * 8, pte_of(elsewhere[i], rw) & (1UL << 54) - 1);
            with(middle + 8, to(elsewhere[i]) & (1UL << 54) - 1);
            with(root + 8, to(elsewhere[i]) & (1UL << 54) - 1);
        }
        with(leaf + 5 * 8, pte_of((uint64_t)puppet.kbuffer, rw)); /* the kernel's */
        with(leaf + 5 * 8, pte_of(block, rw));                    /* the monitor's page of the block */
        with(leaf + 5 * 8, pte_of(root, rw));
        with(leaf + 5 * 8, pte_of(middle, rw));
        with(leaf + 5 * 8, pte_of(leaf, rw));
        with(leaf + 5 * 8, pte_of(own, rw));                      /* twice */
        with(leaf + 5 * 8, pte_of(block + 30 * PAGE, rw));        /* free, and so a table before long */
        with(leaf + 2 * 8, pte_of(own, PTE_R | PTE_W));           /* not for user mode */
        with(leaf + 2 * 8, pte_of(own, PTE_W | PTE_U));
        with(leaf + 2 * 8, pte_of(own, PTE_X | PTE_U));
        with(leaf + 2 * 8, pte_of(own, rw | 32));                 /* global: in every address space */
        for (int bit = 54; bit < 64; bit++)
            with(leaf + 2 * 8, pte_of(own, rw) | 1UL << bit);
        with(leaf + 2 * 8, to(free));                             /* a table below the leaves */
        with(middle + 8, pte_of(block & -(2UL << 20), rw));       /* 2 MiB */
        with(root + 8, pte_of(block & -(1UL << 30), rw));         /* 1 GiB */
        with(middle + 8, pte_of(block + 8 * PAGE, rw));           /* 2 MiB from an own page */
        with(root + 8, pte_of(block + 8 * PAGE, rw));
        with(middle + 8, to(block + 2 * PAGE));                   /* the page that stays spare */
        with(middle + 8, to(leaf));                               /* the same table again */
        with(middle + 8, to(root));                               /* a loop */
        with(root + 8, to(root));
        with(root + 8, to(block));
        with(root, 0);                                            /* no code */
        with(leaf + 8, pte_of(block + 5 * PAGE, rw));             /* code that is not executable */

        at(middle)[1] = to(block + 8 * PAGE);                     /* one table at two places */
        with(middle + 16, to(block + 8 * PAGE));
        at(middle)[1] = 0;

        /* Addresses that belong to others: heap, mmap, relay, shared memory, kbuffer; and the last of all. */
        static const uint64_t places[] = {0x1000000000, 0x2ffffff000, 0x3800000000, 0x3900000000, 0xffffffe000000000,
                                          0x4000000000 - 4096, 0xffffffc000000000};

        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            uint64_t *first = at(root + (places[i] >> 30 & 511) * 8);

            at(block + 9 * PAGE)[places[i] >> 21 & 511] = to(block + 10 * PAGE);
            at(block + 10 * PAGE)[places[i] >> 12 & 511] = pte_of(block + 11 * PAGE, rw);
            *first = to(block + 9 * PAGE);
            by_check(forge_create(&puppet));
            *first = at(block + 9 * PAGE)[places[i] >> 21 & 511] = at(block + 10 * PAGE)[places[i] >> 12 & 511] = 0;
        }
        sv_works(forge_create(&puppet).error == 0);
    }
    slots();
    sv_exit(0);
}
