/* attack: the kernel lets a concurrent server's chains go on out of their turn: resumes the wrong one, the server itself, one
 *         that waits, with each reason; answers one slot's ocall in another; runs, stops and asks about what has no chain;
 *         gives a chain a turn that is another's, and asks who is next after what has no turn
 * stopped by: monitor check
 */
#include "forge.h"

#define PAGE 4096UL
#define REASONS 8
#define ENTRY(puppet) ((volatile uint64_t *)(puppet).command + 7) /* its registers at entry, x0 first */
#define UNTOUCHED 0x5eed5eedUL

enum { CALL_IT = 96, CALL_AND_WAIT = 64, RETURN = 95, SLOT_ID = 63, OCALL = 98, OCALL_MMAP = 1 };

static struct puppet server, back, first, second, third, fourth, fifth, fresh;

/* What whoever runs in this server does next. */
static void inside_of(struct puppet *puppet, uint64_t function, uint64_t a0, uint64_t a1, uint64_t a2)
{
    puppet->command->argument[0] = a0;
    puppet->command->argument[1] = a1;
    puppet->command->argument[2] = a2;
    puppet->command->function = function;
    puppet->command->result = UNTOUCHED;
}

static void inside(uint64_t function, uint64_t a0, uint64_t a1, uint64_t a2)
{
    inside_of(&server, function, a0, a1, a2);
}

static struct sv_result resume(struct puppet *puppet, uint64_t reason)
{
    return sv_call(CALL_RESUME, puppet->eid, reason, OCALL_MMAP, 0, 0);
}

/* It is refused, and nothing has run in the server. */
static void stays(struct sv_result result)
{
    by_check(result);
    sv_stopped('M', server.command->result == UNTOUCHED);
}

/* What must not run now waits, and nothing has run in the server. */
static void waits(struct sv_result result)
{
    sv_stopped('M', result.value == STATUS_WAITING && server.command->result == UNTOUCHED);
}

static struct sv_result call_to(struct puppet *callee, struct puppet *client, uint64_t how)
{
    client->command->result = UNTOUCHED;
    return puppet_go(client, how, callee->eid, PUPPET_DATA, 0, 0);
}

static struct sv_result call(struct puppet *client, uint64_t how) { return call_to(&server, client, how); }

/* A chain that was let in is in this slot now, which has nothing of the call before. */
static void is_in(struct sv_result result, uint64_t slot)
{
    int clean = 1;

    sv_works(result.value == STATUS_YIELD && server.command->result == slot);
    for (int i = 1; i < 32; i++) /* but sp, s0 that the puppet uses first, and the arguments a0 … a4 */
        clean &= i == 2 || i == 8 || (i >= 10 && i <= 14) || ENTRY(server)[i] == 0;
    sv_stopped('M', clean);
}

static void leave_from(struct puppet *callee, struct puppet *client)
{
    inside_of(callee, RETURN, PUPPET_DATA, 0, 0);
    sv_works(resume(client, 0).value == STATUS_YIELD && client->command->result == 0);
}

static void leave(struct puppet *client) { leave_from(&server, client); }

static void wrong_reasons(void) /* first and second are in the slots, third waits */
{
    inside(SLOT_ID, 0, 0, 0);
    for (uint64_t reason = 0; reason < REASONS; reason++) {
        stays(resume(&server, reason));
        stays(resume(&fresh, reason));
        if (reason) {
            stays(resume(&first, reason));
            stays(resume(&third, reason));
        }
    }
    waits(resume(&third, 0));
    for (uint64_t eid = fresh.eid + 1; eid < fresh.eid + 100; eid++)
        stays(sv_call(CALL_RESUME, eid, 0, 0, 0, 0));

    struct puppet *started[] = {&server, &first, &second, &third};

    for (size_t i = 0; i < sizeof started / sizeof *started; i++)
        stays(sv_call(CALL_RUN, started[i]->eid, (uint64_t)started[i]->run_params, 0, 0, 0));
    stays(sv_call(CALL_STOP, server.eid, 0, 0, 0, 0));
    by_check(sv_call(CALL_CAN_GO_ON, server.eid, 0, 0, 0, 0));
    by_check(sv_call(CALL_CAN_GO_ON, fresh.eid, 0, 0, 0, 0));
    sv_stopped('M', sv_call(CALL_CAN_GO_ON, third.eid, 0, 0, 0, 0).value == STATUS_WAITING);
    sv_works(sv_call(CALL_CAN_GO_ON, second.eid, 0, 0, 0, 0).value == 0);

    sv_works(sv_call(CALL_STOP, second.eid, 0, 0, 0, 0).error == 0); /* in a slot, stopped: it stays there */
    stays(resume(&second, 0));
    sv_works(resume(&second, 1).error == 0);
}

static void wrong_answers(void) /* first and second ask for memory at the same time */
{
    uint64_t block = sv_take(2), other = sv_take(2);

    inside(OCALL, OCALL_MMAP, 0, PAGE);
    sv_works(resume(&first, 0).value == STATUS_OCALL);
    stays(puppet_answer(&second, OCALL_MMAP, block, 2 * PAGE));
    stays(puppet_answer(&third, OCALL_MMAP, block, 2 * PAGE));
    stays(puppet_answer(&server, OCALL_MMAP, block, 2 * PAGE));
    stays(puppet_answer(&first, 4, block, 2 * PAGE));
    stays(resume(&first, 0));
    sv_works(resume(&second, 0).value == STATUS_OCALL);
    sv_works(puppet_answer(&first, OCALL_MMAP, block, 2 * PAGE).value == STATUS_YIELD && server.command->result);
    inside(SLOT_ID, 0, 0, 0);
    stays(puppet_answer(&first, OCALL_MMAP, other, 2 * PAGE)); /* twice */
    sv_works(puppet_answer(&second, OCALL_MMAP, block, 2 * PAGE).value == STATUS_YIELD); /* the same for both */
    sv_stopped('M', server.command->result == 0);
}

static void wrong_turns(void) /* third, then fourth wait, and the others come again */
{
    inside(SLOT_ID, 0, 0, 0);
    sv_works(call(&fourth, CALL_AND_WAIT).value == STATUS_WAITING);
    leave(&first);
    inside(SLOT_ID, 0, 0, 0);
    waits(resume(&fourth, 0));
    sv_works(call(&first, CALL_IT).value == STATUS_YIELD);
    sv_stopped('M', (long)first.command->result == -2 && server.command->result == UNTOUCHED);
    waits(call(&first, CALL_AND_WAIT));
    is_in(resume(&third, 0), 0);

    inside(SLOT_ID, 0, 0, 0);
    waits(resume(&fourth, 0));
    leave(&second);
    inside(SLOT_ID, 0, 0, 0);
    waits(resume(&first, 0));
    sv_works(sv_call(CALL_STOP, fourth.eid, 0, 0, 0, 0).error == 0); /* it keeps its place, and holds up nobody */
    stays(resume(&fourth, 0));
    is_in(resume(&first, 0), 1);
    sv_works(resume(&fourth, 1).error == 0);
    inside(SLOT_ID, 0, 0, 0);
    waits(resume(&fourth, 0));
    leave(&first);
    inside(SLOT_ID, 0, 0, 0);
    is_in(resume(&fourth, 0), 1);
    leave(&third);
    inside(SLOT_ID, 0, 0, 0);
    stays(resume(&server, 0)); /* its first slot is in no call */
    leave(&fourth);
}

static struct sv_result after(uint64_t eid) { return sv_call(CALL_TURN, eid, 0, 0, 0, 0); }

static int comes(struct sv_result result, struct puppet *client)
{
    return result.error == 0 && (uint64_t)result.value == client->eid;
}

static void whose_turn(void) /* first, in the server, then third wait for back; fourth waits for the server */
{
    struct puppet *all[] = {&server, &back, &first, &second, &third, &fourth, &fifth, &fresh};

    inside_of(&back, SLOT_ID, 0, 0, 0);
    sv_works(call_to(&back, &second, CALL_IT).value == STATUS_YIELD);
    inside_of(&back, SLOT_ID, 0, 0, 0);
    sv_works(call_to(&back, &fresh, CALL_IT).value == STATUS_YIELD);
    inside(CALL_AND_WAIT, back.eid, PUPPET_DATA, 0);
    sv_works(call(&first, CALL_IT).value == STATUS_WAITING);
    sv_works(call_to(&back, &third, CALL_AND_WAIT).value == STATUS_WAITING);
    inside(SLOT_ID, 0, 0, 0);
    sv_works(call(&fifth, CALL_IT).value == STATUS_YIELD);
    sv_works(call(&fourth, CALL_AND_WAIT).value == STATUS_WAITING);
    by_check(after(-1UL));
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        by_check(after(all[i]->eid));

    leave_from(&back, &second);
    leave_from(&back, &fresh);
    sv_works(comes(after(-1UL), &first) && comes(after(first.eid), &third));
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] != &first)
            by_check(after(all[i]->eid));
    by_check(after(fifth.eid + 100));
    sv_works(sv_call(CALL_STOP, first.eid, 0, 0, 0, 0).error == 0);
    by_check(after(first.eid));
    sv_works(comes(after(-1UL), &third));
}

int EAPP_ENTRY main()
{
    struct puppet *clients[] = {&first, &second, &third, &fourth, &fifth, &fresh};

    forge(&server, "slots", WITH_SLOTS(2));
    sv_works(forge_create(&server).error == 0);
    forge(&back, "back", WITH_SLOTS(2));
    sv_works(forge_create(&back).error == 0);
    for (size_t i = 0; i < sizeof clients / sizeof *clients; i++) {
        forge(clients[i], "client", NORMAL);
        sv_works(forge_create(clients[i]).error == 0);
    }
    inside(SLOT_ID, 0, 0, 0);
    is_in(call(&first, CALL_IT), 0);
    inside(SLOT_ID, 0, 0, 0);
    is_in(call(&second, CALL_IT), 1);
    sv_works(call(&third, CALL_AND_WAIT).value == STATUS_WAITING);
    wrong_reasons();
    wrong_answers();
    wrong_turns();
    whose_turn();
    sv_exit(0);
}
