/* attack: who has the room of a server takes it again and again while another waits for it: by calls that wait, by calls that do
 *         not, from a slot too; and waits for room that only itself could make, or one that waits for it
 * stopped by: monitor check
 */
#include "board.h"
#include "threads.h"

#define TIMES 100
#define MOST 5

enum { FULL = 1, PLAIN, CIRCLE, ROUNDS = CIRCLE };
enum { SERVE, AGAIN, PAUSE, ASK };
enum { FIRST = 1, SECOND };

#define clients board->word[0]
#define served board->word[1]
#define ended board->word[2]
#define order (&board->word[3]) /* who was served, one after the other */

static const char *contested(void) { return board->round == PLAIN ? "other" : "server"; }

static long call(const char *name, uint64_t what, uint64_t who, int waits)
{
    struct call_enclave_arg_t arg = {.req_arg = what | who << 8};
    long handle = acquire_enclave((char *)name);

    return waits ? call_enclave_wait(handle, &arg) : call_enclave(handle, &arg);
}

/* Somebody waits, and is first whatever this one does. */
static void grab(uint64_t who)
{
    int refused = 1;

    for (int i = 0; i < TIMES; i++)
        refused &= call(contested(), SERVE, who, 0) == -2;
    by_check(refused);
    works(call(contested(), SERVE, who, 1) == 0);
}

static void serve(uint64_t what, uint64_t who)
{
    struct call_enclave_arg_t back = {0};

    order[served++ % MOST] = who;
    switch (what) {
    case AGAIN:
        works(call("server", PAUSE, who, 0) == 0);
        if (board->round == CIRCLE)
            works(call("other", SERVE, who, 1) == 0); /* who is there waits too, and has a turn by now */
        else
            grab(who);
        break;
    case PAUSE:
        enclave_call(CALL_OCALL, OCALL_WRITE, 0, 0, 0); /* here it is paused, and the second one runs */
        by_check(call(contested(), SERVE, who, 1) == -3);
        if (board->round == CIRCLE)
            by_check(call("other", SERVE, who, 1) == -3);
        break;
    case ASK: works(call("server", SERVE, who, 1) == 0); break;
    }
    SERVER_RETURN(&back);
}

static void take_turns(uint64_t who)
{
    if (who == FIRST) {
        *(volatile char *)KBUFFER_ADDRESS = 'x', *((volatile char *)KBUFFER_ADDRESS + 1) = 0;
        works(call(contested(), board->round == PLAIN ? PAUSE : AGAIN, who, 0) == 0);
        if (board->round == PLAIN)
            grab(who);
    } else if (board->round == CIRCLE) {
        works(call("other", ASK, who, 0) == 0);
    } else {
        by_check(call(contested(), SERVE, who, 0) == -2);
        works(call(contested(), SERVE, who, 1) == 0);
        grab(who);
    }
}

int EAPP_ENTRY main()
{
    static const uint8_t in_turn[][MOST] = {
        [FULL] = {FIRST, FIRST, SECOND, FIRST, SECOND},
        [PLAIN] = {FIRST, SECOND, FIRST, SECOND},
        [CIRCLE] = {FIRST, FIRST, SECOND, SECOND, FIRST},
    };
    unsigned long *args;
    EAPP_RESERVE_REG;
    if (is_server())
        serve(args[10] & 255, args[10] >> 8);

    int fair = 1;

    rounds(ROUNDS);
    take_turns(++clients);
    for (uint64_t i = 0; i < served && i < MOST; i++)
        fair &= order[i] == in_turn[board->round][i];
    by_check(fair && served <= MOST);
    if (++ended == 2)
        clients = served = ended = 0;
    finish();
}
