/* Logs traps: does what monitor/log.py does, at each trap that the core answers.
 *
 * In C because recording must not double the time of a run. The sum includes a call's registers, the text of a
 * print, and the clock, which counts everything else that happened.
 */

#include "monitor/native/log.h"
#include "monitor/native/calls.h"

#define GOLDEN UINT64_C(0x9e3779b97f4a7c15)

enum { NOTED_PC, NOTED_SP, NOTED_A0, NOTED_A1, NOTED_A2, NOTED_A7, NOTED };
static const int PLACES[NOTED] = {PC, X0 + 2, A0, A1, A2, A7};
static const uint64_t FACTORS[NOTED] = { /* odd, and alike in nothing */
    UINT64_C(0xbf58476d1ce4e5b9), UINT64_C(0x94d049bb133111eb), UINT64_C(0xd6e8feb86659fd93),
    UINT64_C(0xff51afd7ed558ccd), UINT64_C(0xc4ceb9fe1a85ec53), UINT64_C(0xa0761d6478bd642f),
};

static uint64_t mix(uint64_t sum, uint64_t value) {
    sum = (sum ^ value) * GOLDEN;
    return sum ^ sum >> 32;
}

/* The sum with `size` bytes more. */
API uint64_t pltvm_log_bytes(uint64_t sum, const uint8_t *bytes, uint64_t size) {
    for (; size >= 8; size -= 8, bytes += 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        sum = mix(sum, word);
    }
    if (size) {
        uint64_t word = 0;
        memcpy(&word, bytes, size);
        sum = mix(sum, word | size << 56);
    }
    return sum;
}

/* The sum with one more trap, of `who`, with these registers. */
static uint64_t with_trap(uint64_t sum, uint64_t clock, uint32_t cause, uint32_t who, const uint64_t *values) {
    uint64_t all = ((uint64_t)cause << 32 | who) + clock * GOLDEN;
    for (int i = 0; i < NOTED; i++) all += values[i] * FACTORS[i] ^ values[i] >> 29;
    return mix(sum, all);
}

static void add_row(struct trap_log *log, const struct trap_row *row) {
    if (log->used == log->room) {
        for (uint64_t i = 0; i < log->used / 2; i++) log->rows[i] = log->rows[2 * i];
        log->used /= 2;
        log->mask = log->mask * 2 + 1;
        if (log->count & log->mask) return;
    }
    log->rows[log->used++] = *row;
}

/* Whether a trap with this sum is the expected one. */
static int check(struct trap_log *log, uint64_t sum) {
    if (log->expected != NULL && log->count == log->expected_end) {
        log->differs = 1;
    } else if (log->expected != NULL && !(log->count & log->expected_mask)) {
        uint64_t at = log->count / (log->expected_mask + 1);
        if (at >= log->expected_count || log->expected[at].sum != sum) log->differs = 1;
    }
    return !log->differs;
}

static void note(struct trap_log *log, uint64_t sum, uint32_t cause, uint32_t who, const uint64_t *values) {
    log->sum = sum;
    if (!(log->count & log->mask)) {
        struct trap_row row = {values[NOTED_PC], values[NOTED_A7], values[NOTED_A0], who, (uint16_t)cause, 0, sum};
        add_row(log, &row);
    }
    log->count++;
}

/* Log a trap that Python handles, with the registers of its context and the data it writes; 0 if it differs. */
API int pltvm_log_trap(struct trap_log *log, uint64_t clock, uint32_t cause, uint32_t who, const uint64_t *registers,
                       const uint8_t *text, uint64_t size) {
    uint64_t values[NOTED];
    for (int i = 0; i < NOTED; i++) values[i] = registers[PLACES[i]];
    uint64_t sum = with_trap(log->sum, clock, cause, who, values);
    sum = pltvm_log_bytes(sum, text, size);
    if (!check(log, sum)) return 0;
    note(log, sum, cause, who, values);
    return 1;
}

/* Called in place of the function that answers traps: logs calls of enclaves that are answered. */
API int pltvm_log_answer(struct hart *hart, uint32_t cause) {
    struct trap_log *log = hart->log;
    uint64_t running = globals_of(hart)->running;
    if (cause != ECALL_U || !running) return log->next(hart, cause);
    uint64_t values[NOTED];
    int ids[NOTED];
    void *where[NOTED];
    for (int i = 0; i < NOTED; i++) {
        ids[i] = hart->ids[PLACES[i]];
        where[i] = values + i;
    }
    hart->read_batch(hart->engine, ids, where, NOTED);
    const struct enclave *enclave = enclave_at(hart, running);
    uint32_t eid = enclave->eid;
    uint64_t sum = with_trap(log->sum, hart->clock, cause, eid, values);
    if (values[NOTED_A7] == CALL_OCALL && values[NOTED_A0] == OCALL_WRITE) {
        const char *text = at(hart, top_of(hart, enclave)->kbuffer);
        sum = pltvm_log_bytes(sum, (const uint8_t *)text, strnlen(text, WRITE_LIMIT));
    }
    if (!check(log, sum) || !log->next(hart, cause)) return 0; /* Python gets it, and notes it */
    note(log, sum, cause, eid, values);
    return 1;
}
