/* attack: the kernel destroys a concurrent server, a server behind it, each chain that is in it or waits for it, at each moment
 *         of their calls; looks for what they leave; and lets the others go on, who must lack nothing and find their slots free
 * stopped by: monitor check
 */
#include "forge.h"

#define PAGE 4096UL
#define SECRET 0x5ec2e75ec2e75ec2UL
#define PASSED_PAGES 2
#define USED_PAGES 16 /* of a puppet's block */
#define REQUEST (PUPPET_DATA + 16) /* of a call struct in the data: req_vaddr, req_size */
#define MOST_TURNS 16

enum { SLOTS, BEHIND, SERVERS, A = SERVERS, B, C, D, ALL };
enum { CALL_IT = 96, CALL_AND_WAIT = 64, RETURN = 95, EID = 90, OCALL = 98, OCALL_MMAP = 1 };

static struct puppet puppets[ALL];
static int in[ALL][SERVERS];  /* whether a chain is in a call of this server */
static int gone[ALL];
static uint64_t blocks[2];     /* for mmap: of A, of the server */

static void tell(struct puppet *puppet, uint64_t function, uint64_t a0, uint64_t a1, uint64_t a2)
{
    puppet->command->argument[0] = a0;
    puppet->command->argument[1] = a1;
    puppet->command->argument[2] = a2;
    puppet->command->function = function;
}

static long go_on(int chain) { return sv_call(CALL_RESUME, puppets[chain].eid, 0, 0, 0, 0).value; }

static long go(int chain, uint64_t function, uint64_t a0, uint64_t a1, uint64_t a2)
{
    return puppet_go(&puppets[chain], function, a0, a1, a2, 0).value;
}

/* A chain calls the server; there it does this. */
static long call(int chain, uint64_t how, uint64_t function)
{
    tell(&puppets[SLOTS], function, 0, 0, 0);
    return go(chain, how, puppets[SLOTS].eid, PUPPET_DATA, 0);
}

/* Who is in a server at the end of a chain does this there. */
static long inside(int chain, int server, uint64_t function, uint64_t a0, uint64_t a1, uint64_t a2)
{
    tell(&puppets[server], function, a0, a1, a2);
    return go_on(chain);
}

static long leave(int chain, int server)
{
    in[chain][server] = 0;
    return inside(chain, server, RETURN, PUPPET_DATA, 0, 0);
}

static long enter(int chain, long status)
{
    in[chain][SLOTS] = status == STATUS_YIELD;
    return status;
}

/* What A passes, with a secret in it. */
static int secret_to_pass(void)
{
    uint64_t own;

    if (go(A, OCALL, OCALL_MMAP, 0, PAGE) != STATUS_OCALL
        || puppet_answer(&puppets[A], OCALL_MMAP, blocks[0], PASSED_PAGES * PAGE).value != STATUS_YIELD)
        return 0;
    own = puppets[A].command->result;
    return go(A, PUPPET_STORE, own, SECRET, 0) == STATUS_YIELD
           && go(A, PUPPET_STORE, REQUEST, own, 0) == STATUS_YIELD
           && go(A, PUPPET_STORE, REQUEST + 8, PAGE, 0) == STATUS_YIELD;
}

static int call_behind(void)
{
    tell(&puppets[BEHIND], EID, 0, 0, 0);
    in[B][BEHIND] = 1;
    return inside(B, SLOTS, CALL_IT, puppets[BEHIND].eid, PUPPET_DATA + 512, 0) == STATUS_YIELD;
}

/* The moments: what happens next, if nobody ends it. 0 when that was all. */
static int step(int moment)
{
    switch (moment) {
    case 0: sv_works(enter(A, call(A, CALL_IT, EID)) == STATUS_YIELD); break;
    case 1: sv_works(enter(B, call(B, CALL_IT, EID)) == STATUS_YIELD); break;
    case 2: sv_works(call(C, CALL_AND_WAIT, EID) == STATUS_WAITING && call(D, CALL_AND_WAIT, EID) == STATUS_WAITING); break;
    case 3: sv_works(inside(A, SLOTS, OCALL, OCALL_MMAP, 0, PAGE) == STATUS_OCALL); break;
    case 4: sv_works(puppet_answer(&puppets[A], OCALL_MMAP, blocks[1], PASSED_PAGES * PAGE).value == STATUS_YIELD); break;
    case 5: sv_works(inside(A, SLOTS, PUPPET_STORE, puppets[SLOTS].command->result, SECRET, 0) == STATUS_YIELD); break;
    case 6: sv_works(call_behind()); break;
    case 7: sv_works(leave(A, SLOTS) == STATUS_YIELD && puppets[A].command->result == 0); break; /* it keeps what A passed */
    case 8: sv_works(enter(C, inside(C, SLOTS, EID, 0, 0, 0)) == STATUS_YIELD); break;
    case 9: sv_works(leave(B, BEHIND) == STATUS_YIELD); break;
    case 10: sv_works(leave(B, SLOTS) == STATUS_YIELD); break;
    case 11: sv_works(enter(D, inside(D, SLOTS, EID, 0, 0, 0)) == STATUS_YIELD); break;
    case 12: sv_works(leave(C, SLOTS) == STATUS_YIELD); break;
    case 13: sv_works(leave(D, SLOTS) == STATUS_YIELD); break;
    default: return 0;
    }
    return 1;
}

static void begin(void)
{
    static const char *names[] = {"slots", "behind", "a", "b", "c", "d"};

    for (int i = 0; i < ALL; i++) {
        uint32_t type = i == SLOTS ? WITH_SLOTS(2) : i == BEHIND ? SERVER_TYPE : NORMAL;

        if (puppets[i].block)
            forge_again(&puppets[i], names[i], type);
        else
            forge(&puppets[i], names[i], type);
        sv_works(forge_create(&puppets[i]).error == 0);
        gone[i] = in[i][SLOTS] = in[i][BEHIND] = 0;
    }
}

/* By lines of 32 bytes: there are many. */
static int has_secret(uint64_t start, uint64_t size)
{
    int found = 0;

    for (uint64_t *word = at(start); word < at(start + size); word += 4)
        found |= word[0] == SECRET || word[1] == SECRET || word[2] == SECRET || word[3] == SECRET;
    return found;
}

/* It ends, with the chains that are in it, and no others. */
static void end(int victim)
{
    long function = victim < SERVERS ? CALL_DESTROY_SERVER : CALL_DESTROY;

    sv_works(sv_call(function, puppets[victim].eid, 0, 0, 0, 0).error == 0);
    gone[victim] = 1;
    for (int chain = SERVERS; chain < ALL; chain++)
        if (victim < SERVERS)
            gone[chain] |= in[chain][victim];
}

static void nothing_is_left(void)
{
    for (int i = 0; i < ALL; i++)
        if (gone[i]) {
            by_check(sv_call(CALL_RESUME, puppets[i].eid, 0, 0, 0, 0));
            by_check(sv_call(i < SERVERS ? CALL_DESTROY_SERVER : CALL_DESTROY, puppets[i].eid, 0, 0, 0, 0));
            sv_stopped('M', !has_secret(puppets[i].block, USED_PAGES * PAGE));
        }
}

/* Whether a chain comes out of all calls, if the servers let it. */
static int comes_out(int chain)
{
    struct puppet *puppet = &puppets[chain];

    if (puppet->mailbox->ocall == OCALL_MMAP) /* it may wait for memory: there is none */
        puppet_answer(puppet, OCALL_MMAP, 0, 0);
    tell(puppet, EID, 0, 0, 0);
    for (int turn = 0; turn < MOST_TURNS && puppet->command->result != puppet->eid; turn++)
        if (go_on(chain) == STATUS_WAITING)
            return 0; /* others first */
    return puppet->command->result == puppet->eid;
}

static void others_go_on(void)
{
    int left = 0;

    for (int server = 0; server < SERVERS; server++)
        tell(&puppets[server], RETURN, PUPPET_DATA, 0, 0);
    for (int chain = SERVERS; chain < ALL; chain++)
        if (!gone[chain] && puppets[chain].started)
            puppets[chain].command->result = 0, left++;
    for (int turn = 0; turn < ALL && left; turn++)
        for (int chain = SERVERS; chain < ALL; chain++)
            if (!gone[chain] && puppets[chain].started && puppets[chain].command->result != puppets[chain].eid)
                left -= comes_out(chain);
    sv_stopped('M', left == 0);
}

/* Who is left finds room in the server for one after the other, from the first slot on. */
static void slots_are_free(void)
{
    uint64_t slot = 0;

    for (int chain = SERVERS; chain < ALL; chain++)
        if (!gone[chain] && slot < 2) {
            sv_works(go(chain, PUPPET_STORE, REQUEST, 0, 0) == STATUS_YIELD);
            sv_stopped('M', enter(chain, call(chain, CALL_IT, 63)) == STATUS_YIELD);
            sv_stopped('M', puppets[SLOTS].command->result == slot++);
        }
}

static void end_all(void)
{
    for (int i = 0; i < ALL; i++)
        if (!gone[i])
            end(i);
    nothing_is_left();
    sv_stopped('M', !has_secret(blocks[0], PASSED_PAGES * PAGE) && !has_secret(blocks[1], PASSED_PAGES * PAGE));
}

/* 0 when there is no such moment. */
static int end_at(int moment, int victim)
{
    int more = 1;

    begin();
    sv_works(secret_to_pass());
    for (int done = 0; done < moment; done++)
        more = step(done);
    end(victim);
    nothing_is_left();
    others_go_on();
    for (int chain = SERVERS; chain < ALL; chain++)
        in[chain][SLOTS] = in[chain][BEHIND] = 0;
    if (!gone[SLOTS])
        slots_are_free();
    end_all();
    return more;
}

/* What a slot has passed to another one of its server is the server's still when their chain ends. */
static void its_own_stays(void)
{
    uint64_t own;

    begin();
    sv_works(enter(A, call(A, CALL_IT, EID)) == STATUS_YIELD);
    sv_works(inside(A, SLOTS, OCALL, OCALL_MMAP, 0, PAGE) == STATUS_OCALL);
    sv_works(puppet_answer(&puppets[A], OCALL_MMAP, blocks[1], PASSED_PAGES * PAGE).value == STATUS_YIELD);
    own = puppets[SLOTS].command->result;
    sv_works(inside(A, SLOTS, PUPPET_STORE, own, SECRET, 0) == STATUS_YIELD);
    sv_works(inside(A, SLOTS, PUPPET_STORE, REQUEST, own, 0) == STATUS_YIELD);
    sv_works(inside(A, SLOTS, PUPPET_STORE, REQUEST + 8, PAGE, 0) == STATUS_YIELD);
    sv_works(inside(A, SLOTS, CALL_IT, puppets[SLOTS].eid, PUPPET_DATA, 0) == STATUS_YIELD);
    end(A);
    sv_works(enter(B, call(B, CALL_IT, EID)) == STATUS_YIELD);
    sv_stopped('M', inside(B, SLOTS, PUPPET_LOAD, own, 0, 0) == STATUS_YIELD);
    sv_stopped('M', puppets[SLOTS].command->result == SECRET);
    end_all();
}

int EAPP_ENTRY main()
{
    blocks[0] = sv_take(PASSED_PAGES);
    blocks[1] = sv_take(PASSED_PAGES);
    for (int victim = 0; victim < ALL; victim++)
        for (int moment = 0; end_at(moment, victim); moment++)
            ;
    its_own_stays();
    sv_exit(0);
}
