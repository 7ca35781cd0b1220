/* attack: the kernel makes the other monitor calls with numbers and addresses that are wrong: runs, resumes, stops,
 *         attests and destroys what it may not; names private memory as source, result, relay pages or records
 * stopped by: monitor check
 */
#include "forge.h"

#define PAGE 4096UL

static struct sv_info *info;
static uint64_t not_ours[NOT_OURS + 1];

static void numbers(void) /* eids that do not exist, or are of another kind */
{
    static const long calls[] = {CALL_RUN, CALL_RUN_SHADOW, CALL_ATTEST, CALL_ATTEST_SHADOW, CALL_STOP, CALL_RESUME,
                                 CALL_DESTROY, CALL_DESTROY_SERVER, CALL_DESTROY_SHADOW, CALL_TURN};
    static const uint64_t eids[] = {1000, -1UL, 1UL << 32, 1UL << 63};
    uint64_t page = sv_take(1);

    for (size_t c = 0; c < sizeof calls / sizeof *calls; c++)
        for (size_t e = 0; e < sizeof eids / sizeof *eids; e++)
            by_check(sv_call(calls[c], eids[e], page, 0, 0, 0));
    by_check(sv_call(CALL_RUN, info->victim[ENCLAVE].eid, page, 0, 0, 0)); /* a second time */
    by_check(sv_call(CALL_RUN, info->victim[SERVER].eid, page, 0, 0, 0));
    by_check(sv_call(CALL_RUN, info->victim[TEMPLATE].eid, page, 0, 0, 0));
    by_check(sv_call(CALL_RUN_SHADOW, info->victim[ENCLAVE].eid, page, 0, 0, 0));
    by_check(sv_call(CALL_STOP, info->victim[SERVER].eid, 0, 0, 0, 0));
    for (uint64_t reason = 0; reason < 8; reason++) {
        by_check(sv_call(CALL_RESUME, info->victim[SERVER].eid, reason, 0, 0, 0));
        by_check(sv_call(CALL_RESUME, info->victim[TEMPLATE].eid, reason, 0, 0, 0));
        if (reason != 1) /* it is stopped, in an ocall */
            by_check(sv_call(CALL_RESUME, info->victim[ENCLAVE].eid, reason, 3, 0, 0));
    }
    for (uint64_t call = 0; call < 128; call++)
        if (call < 79 || call == 82 || call == 84 || call == 88 || call == 91 || call == 93 || call > 104)
            by_check(sv_call(call, info->victim[ENCLAVE].eid, page, page, page, page));
}

static void addresses(void) /* private memory as parameters, result, source, records */
{
    struct puppet puppet;

    forge(&puppet, "puppet", NORMAL);
    sv_works(forge_create(&puppet).error == 0);
    for (int i = 0; not_ours[i]; i++) {
        uint64_t where = not_ours[i];

        by_check(sv_call(CALL_RUN, puppet.eid, where, 0, 0, 0));
        by_check(sv_call(CALL_RUN_SHADOW, info->victim[TEMPLATE].eid, where, 0, 0, 0));
        by_check(sv_call(CALL_ATTEST, puppet.eid, where, 7, 0, 0));
        by_check(sv_call(CALL_ATTEST, info->victim[SERVER].eid, where, 7, 0, 0));
        by_check(sv_call(CALL_EXTEND, where, PAGE, 0, 0, 0));
        by_check(sv_call(CALL_RELAY_INIT, where, PAGE, 0, 0, 0));
        by_check(sv_call(CALL_RECLAIM, where, PAGE, 0, 0, 0));
        by_check(sv_call(CALL_SET_PTE, SET_COPY, info->free_leaf[0], where, 8, 0));
        by_check(sv_call(CALL_SET_PTE, SET_BATCH_SET, 0, where, 1, 0));
        by_check(sv_call(CALL_SET_PTE, SET_BATCH_ZERO, 0, where, 1, 0));
        puppet.run_params[0] = where;
        for (uint64_t size = PAGE; size < 16 * PAGE; size *= 2) {
            puppet.run_params[1] = size;
            by_check(sv_call(CALL_RUN, puppet.eid, (uint64_t)puppet.run_params, 0, 0, 0));
        }
    }
    uint64_t held[] = {(uint64_t)puppet.kbuffer, (uint64_t)puppet.params, puppet.block, info->victim[KBUFFER].block,
                       info->free + 1, info->ram + info->ram_size - PAGE};

    for (size_t i = 0; i < sizeof held / sizeof *held; i++) { /* the kernel's, but an enclave holds it */
        puppet.run_params[0] = held[i];
        puppet.run_params[1] = i == 5 ? 2 * PAGE : PAGE;
        by_check(sv_call(CALL_RUN, puppet.eid, (uint64_t)puppet.run_params, 0, 0, 0));
        by_check(sv_call(CALL_EXTEND, held[i], puppet.run_params[1], 0, 0, 0));
    }
    puppet.run_params[0] = sv_take(1);
    static const uint64_t sizes[] = {1, PAGE - 1, PAGE + 1, 1UL << 40, -PAGE, -1UL};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        puppet.run_params[1] = sizes[i];
        by_check(sv_call(CALL_RUN, puppet.eid, (uint64_t)puppet.run_params, 0, 0, 0));
        by_check(sv_call(CALL_EXTEND, puppet.run_params[0], sizes[i], 0, 0, 0));
        by_check(sv_call(CALL_RECLAIM, puppet.run_params[0], sizes[i], 0, 0, 0));
    }
    by_check(sv_call(CALL_STOP, puppet.eid, 0, 0, 0, 0)); /* it has not started */
    puppet.run_params[0] = puppet.run_params[1] = 0;
    sv_works(puppet_go(&puppet, 90, 0, 0, 0, 0).value == STATUS_YIELD && puppet.command->result == puppet.eid);
    by_check(sv_call(CALL_RUN, puppet.eid, (uint64_t)puppet.run_params, 0, 0, 0));
}

int EAPP_ENTRY main()
{
    info = sv_start();
    sv_not_ours(not_ours);
    numbers();
    addresses();
    sv_exit(0);
}
