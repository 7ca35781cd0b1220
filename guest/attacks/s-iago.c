/* attack: the kernel answers ocalls with lies: for mmap, sbrk, shared memory and new relay pages it gives memory that is
 *         the enclave's already, another's, the monitor's, held, too small; for random numbers a private source; answers
 *         for another ocall, twice, or without being asked
 * stopped by: monitor check
 */
#include "forge.h"

#define PAGE 4096UL
#define COUNT 24

static struct puppet puppet, other;
static struct { uint64_t value, size; } lies[COUNT];
static int count;

static void lie(uint64_t value, uint64_t size)
{
    lies[count].value = value;
    lies[count++].size = size;
}

static void ocall(uint64_t number, uint64_t a, uint64_t b)
{
    sv_works(puppet_go(&puppet, 98, number, a, b, 0).value == STATUS_OCALL);
    sv_works(puppet.mailbox->ocall == number);
}

static void every_lie(uint64_t number, uint64_t a, uint64_t b, uint64_t failure)
{
    for (int i = 0; i < count; i++) {
        ocall(number, a, b);
        by_check(puppet_answer(&puppet, number % 9 + 1, lies[i].value, lies[i].size)); /* for another ocall */
        by_check(sv_call(CALL_RESUME, puppet.eid, 0, 0, 0, 0));                        /* as if by the timer */
        sv_works(puppet_answer(&puppet, number, lies[i].value, lies[i].size).value == STATUS_YIELD);
        sv_stopped('M', puppet.command->result == failure);
        by_check(puppet_answer(&puppet, number, lies[i].value, lies[i].size)); /* twice */
    }
}

int EAPP_ENTRY main()
{
    struct sv_info *info = sv_start();
    uint64_t not_ours[NOT_OURS + 1], good = sv_take(4), relay = sv_take(1);

    forge(&puppet, "puppet", NORMAL);
    forge(&other, "other", NORMAL);
    sv_works(forge_create(&puppet).error == 0 && forge_create(&other).error == 0);
    puppet.run_params[0] = relay;
    puppet.run_params[1] = PAGE;
    sv_works(puppet_go(&puppet, 90, 0, 0, 0, 0).value == STATUS_YIELD);

    sv_not_ours(not_ours);
    for (int i = 0; not_ours[i]; i++)
        lie(not_ours[i] & -(2 * PAGE), 2 * PAGE);
    lies[1].value = info->bitmap;
    lie(puppet.block, puppet.size);
    lie(other.block + 6 * PAGE, 2 * PAGE);
    lie((uint64_t)puppet.kbuffer & -(2 * PAGE), 2 * PAGE); /* the kernel's, but held */
    lie(relay & -(2 * PAGE), 2 * PAGE);
    lie(good, PAGE);                                       /* no room for the record */
    lie(good + PAGE, 2 * PAGE);                            /* not aligned */
    lie(good + 8, 2 * PAGE);
    lie(good, 3 * PAGE);                                   /* no power of two */
    lie(good, -1UL);
    lie(0, 2 * PAGE);

    every_lie(1, 0, PAGE, 0);          /* mmap */
    every_lie(4, PAGE, 0, -1UL);       /* sbrk */
    every_lie(9, 77, PAGE, -1UL);      /* memory shared between enclaves */

    ocall(1, 0, PAGE); /* the good one, to the one who asked, once */
    by_check(puppet_answer(&other, 1, good, 2 * PAGE));
    sv_works(puppet_answer(&puppet, 1, good, 2 * PAGE).value == STATUS_YIELD && puppet.command->result != 0);
    ocall(1, 0, PAGE);
    sv_works(puppet_answer(&puppet, 1, good, 2 * PAGE).value == STATUS_YIELD);
    sv_stopped('M', puppet.command->result == 0);

    for (int i = 0; not_ours[i]; i++) { /* random numbers from there */
        ocall(8, PUPPET_DATA, 64);
        sv_works(puppet_answer(&puppet, 8, not_ours[i], 64).value == STATUS_YIELD);
        sv_stopped('M', puppet.command->result == -1UL || puppet.command->result == 0);
    }
    ocall(7, 0, 0); /* new relay pages: the enclave waits on */
    for (int i = 0; not_ours[i]; i++)
        by_check(puppet_answer(&puppet, 7, not_ours[i], PAGE));
    by_check(puppet_answer(&puppet, 7, good, PAGE));
    by_check(puppet_answer(&puppet, 7, (uint64_t)puppet.kbuffer, PAGE));
    by_check(puppet_answer(&puppet, 7, relay, PAGE + 1));
    by_check(puppet_answer(&puppet, 7, relay, 1UL << 40));
    sv_works(puppet_answer(&puppet, 7, relay, PAGE).value == STATUS_YIELD);
    sv_exit(0);
}
