/* The entry for enclave calls: answers the short ones, and passes the longer ones on.
 *
 * Does what monitor/monitor.py and the modules that it calls do, on the same records. In C because programs make
 * thousands of these calls, and each takes less than a hundredth of the time in Python.
 */

#include "monitor/native/calls.h"
#include "engine/native/sv39.h"

/* CRC-32, as of zlib, four bits at a time: names are short. */
static uint32_t crc32_of(const uint8_t *bytes, size_t size) {
    static const uint32_t table[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    uint32_t crc = ~UINT32_C(0);
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        crc = table[crc & 15] ^ crc >> 4;
        crc = table[crc & 15] ^ crc >> 4;
    }
    return ~crc;
}

/* Call 97: the eid of the living server with the name at a0. */
static int acquire(struct hart *hart, struct enclave *enclave) {
    uint64_t va = hart_register(hart, A0);
    if ((va & (PAGE - 1)) > PAGE - NAME_SIZE) return 0;
    const uint8_t *name = translate(hart, enclave->root, va, PTE_R);
    if (name == NULL) return 0;
    size_t size = strnlen((const char *)name, NAME_SIZE);
    const uint64_t *heads = (const uint64_t *)(hart->ram + SERVERS_AT);
    uint64_t found = heads[crc32_of(name, size) % SERVER_LISTS];
    while (found) {
        const struct enclave *server = enclave_at(hart, found);
        if (strnlen((const char *)server->name, NAME_SIZE) == size && !memcmp(server->name, name, size)) {
            hart_set(hart, A0, server->eid);
            return 1;
        }
        found = server->next_of_name;
    }
    return 0;
}

/* Call 91: who called, or −1. */
static int caller_id(struct hart *hart, struct enclave *enclave) {
    hart_set(hart, A0, enclave->caller ? enclave_at(hart, enclave->caller)->eid : UINT64_MAX);
    return 1;
}

/* Leave the state as if control had been in the host, with this status, and had come back. */
static void was_in_host(struct hart *hart, const struct enclave *enclave, int64_t status) {
    globals_of(hart)->host_status = status;
    wrote(hart, globals_of(hart));
    wrote(hart, enclave);
}

int can_ask(struct hart *hart, const struct enclave *enclave) {
    const struct enclave *top = top_of(hart, enclave);
    return !top->stopped && !hart->code[(top->ocall - hart->base) >> 12];
}

void ask(struct hart *hart, struct enclave *enclave, uint64_t number, uint64_t arg0, uint64_t arg1) {
    const struct enclave *top = top_of(hart, enclave);
    uint64_t *where[] = {at(hart, top->ocall), at(hart, top->arg0), at(hart, top->arg1)};
    *where[0] = number;
    *where[1] = arg0;
    *where[2] = arg1;
    for (int i = 0; i < 3; i++) wrote(hart, where[i]);
    was_in_host(hart, enclave, STATUS_OCALL);
}

/* Call 89: let others run; the host has no others to run. */
static int yield(struct hart *hart, struct enclave *enclave) {
    if (!calls_of(hart)->goes_on || top_of(hart, enclave)->stopped) return 0;
    was_in_host(hart, enclave, STATUS_YIELD);
    hart_set(hart, A0, 0);
    return 1;
}

/* Ocall 3: print the text in the kbuffer, as a line. */
static int print(struct hart *hart, struct enclave *enclave) {
    struct calls *calls = calls_of(hart);
    if (!calls->kbuffer || calls->room - calls->used <= WRITE_LIMIT || !can_ask(hart, enclave)) return 0;
    if (calls->owners[(calls->kbuffer - hart->base) >> 12] >= PRIVATE) return 0;
    const char *text = at(hart, calls->kbuffer);
    size_t size = strnlen(text, WRITE_LIMIT);
    if (size) {
        memcpy(calls->text + calls->used, text, size);
        calls->used += size;
        if (text[size - 1] != '\n') calls->text[calls->used++] = '\n';
        hart->told |= WAITING;
    }
    ask(hart, enclave, OCALL_WRITE, 0, 0);
    hart_set(hart, A0, 0);
    return 1;
}

static int answer_ocall(struct hart *hart, struct enclave *enclave) {
    uint64_t number = hart_register(hart, A0);
    return number == OCALL_WRITE ? print(hart, enclave) : memory_ocall(hart, enclave, number);
}

static int answer_call(struct hart *hart, struct enclave *enclave) {
    uint64_t number = hart_register(hart, A7);
    if (hart_register(hart, A6) != ENCLAVE_CALL) {
        if (number != LINUX_IOCTL) return 0;
        hart_set(hart, A0, 0);
        return 1;
    }
    switch (number) {
    case CALL_ENCLAVE_ID: hart_set(hart, A0, enclave->eid); return 1;
    case CALL_CALLER_ID: return caller_id(hart, enclave);
    case CALL_ACQUIRE: return acquire(hart, enclave);
    case CALL_CALL:
    case CALL_CALL_WAITING: return call_server(hart, enclave);
    case CALL_SLOT_ID: hart_set(hart, A0, enclave->slot); return 1;
    case CALL_RETURN: return return_to_caller(hart, enclave);
    case CALL_YIELD: return yield(hart, enclave);
    case CALL_OCALL: return answer_ocall(hart, enclave);
    default: return 0;
    }
}

/* `answer` of the hart: see there. */
API int pltvm_answer(struct hart *hart, uint32_t cause) {
    uint64_t running = globals_of(hart)->running;
    if (!running || calls_of(hart)->owners == NULL) return 0;
    struct enclave *enclave = enclave_at(hart, running);
    switch (cause) {
    case ECALL_U: return answer_call(hart, enclave);
    case STORE_PAGE:
    case FETCH_PAGE: return flip(hart, enclave, cause);
    default: return 0;
    }
}
