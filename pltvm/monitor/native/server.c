/* Calls between enclaves (§5), in the common case: does what monitor/server.py and monitor/chain.py do.
 *
 * In the common case the call structures are in one page each, at most one region moves, and every page table
 * that it needs exists. Everything is checked before anything changes, so other cases go to Python unchanged.
 * In C because call and return are the most frequent calls of servers.
 */

#include "engine/native/sv39.h"
#include "monitor/native/calls.h"
#include "monitor/native/space.h"

/* The living enclave with this number. */
static struct enclave *find_enclave(struct hart *hart, uint64_t eid) {
    const uint64_t *heads = (const uint64_t *)(hart->ram + ENCLAVES_AT);
    uint64_t found = heads[eid % ENCLAVE_LISTS];
    while (found) {
        struct enclave *enclave = enclave_at(hart, found);
        if (enclave->eid == eid) return enclave;
        found = enclave->next_of_eid;
    }
    return NULL;
}

/* The call structure at `va`, if it is in one page. */
static struct call_struct *find_struct(struct hart *hart, const struct enclave *enclave, uint64_t va,
                                       uint64_t flags) {
    if ((va & (PAGE - 1)) > PAGE - sizeof(struct call_struct)) return NULL;
    return translate(hart, enclave->root, va, flags);
}

/* Give the hart to an enclave's context; the former one is saved. */
static void run(struct hart *hart, struct enclave *enclave) {
    struct registers *registers = registers_of(hart, enclave);
    enclave->state = RUNNING;
    globals_of(hart)->running = address(hart, enclave);
    wrote(hart, globals_of(hart));
    wrote(hart, enclave);
    wrote(hart, registers);
    hart_switch(hart, registers->own);
}

/* Whether a server takes a call now, and no call waits for it; and the slot for the call. */
static struct enclave *slot_for_call(struct hart *hart, struct enclave *server) {
    if (server->kind == TYPE_SERVER) return server->caller || server->first_waiting ? NULL : server;
    if (server->kind != TYPE_CONCURRENT_SERVER || server->first_waiting) return NULL;
    int slot = __builtin_ffsll((long long)~server->busy) - 1;
    if (slot < 0 || (uint32_t)slot >= server->slots) return NULL;
    return enclave_at(hart, registers_of(hart, server)->slots[slot]);
}

/* Zero the pages of a slot's stack that were written since it was entered. */
static void clear_stack(struct hart *hart, const struct enclave *slot) {
    uint64_t va = STACK_TOP, *entry;
    while ((entry = walk(hart, slot->root, va - PAGE)) != NULL) {
        do {
            if (!(*entry & PTE_V)) return;
            if (*entry & PTE_D) {
                *entry &= ~(uint64_t)PTE_D;
                memset(at(hart, pte_address(*entry)), 0, PAGE);
                touch(hart, pte_address(*entry));
                wrote(hart, entry);
            }
            va -= PAGE;
            entry--;
        } while (va & (512 * PAGE - 1));
    }
}

/* The place of the page-table entry for an enclave's kbuffer. */
static uint64_t *kbuffer_entry(struct hart *hart, const struct enclave *enclave) {
    return at(hart, enclave->kbuffer_slot);
}

/* Note that a call has passed this region to a slot, or that it is back. */
static void receive(struct hart *hart, const struct enclave *slot, struct region *region) {
    if (slot->request != address(hart, region)) return;
    region->holder = address(hart, slot);
    region->call = slot->calls;
    wrote(hart, region);
}

int call_server(struct hart *hart, struct enclave *caller) {
    struct enclave *server = find_enclave(hart, hart_register(hart, A0)), *from = home_of(hart, caller);
    uint64_t struct_va = hart_register(hart, A1), place = 0, va = 0;
    struct enclave *callee = server != NULL && server != from ? slot_for_call(hart, server) : NULL;
    if (callee == NULL) return 0;
    struct call_struct *where = find_struct(hart, caller, struct_va, PTE_R | PTE_W);
    if (where == NULL) return 0;
    struct call_struct fields;
    memcpy(&fields, where, sizeof fields); /* it need not be aligned */
    struct region *request = NULL;
    if (fields.req_vaddr) {
        request = find_region(hart, from, fields.req_vaddr, fields.req_size);
        if (request == NULL || !may_give(hart, caller, request)) return 0;
        if (request->va < struct_va + sizeof fields && struct_va < request->va + request->size) return 0;
        place = place_for(hart, server, request->va, request->size);
        if (!place) return 0;
        va = place + fields.req_vaddr - request->va;
    }

    /* Nothing can fail from here on. */
    hart_save(hart);
    if (request != NULL) move_region(hart, request, from, server, place);
    if (server->kind == TYPE_CONCURRENT_SERVER) {
        server->busy |= UINT64_C(1) << callee->slot;
        callee->calls++;
        wrote(hart, server);
    }
    struct enclave *top = top_of(hart, caller);
    callee->caller = address(hart, caller);
    callee->top = caller->top;
    top->innermost = address(hart, callee);
    wrote(hart, top);
    callee->struct_pa = address(hart, where);
    callee->struct_rest = 0;
    callee->request_size = fields.req_size;
    if (request != NULL) {
        callee->request = address(hart, request);
        callee->request_va = request->origin_va;
        if (server->kind == TYPE_CONCURRENT_SERVER) receive(hart, callee, request);
    }
    *kbuffer_entry(hart, callee) = top->kbuffer_entry;
    wrote(hart, kbuffer_entry(hart, callee));
    caller->state = CALLING;
    wrote(hart, caller);
    uint64_t *own = registers_of(hart, callee)->own; /* as `leave` has left them */
    own[A0] = fields.req_arg;
    own[A1] = va;
    own[A2] = va ? fields.req_size : 0;
    run(hart, callee);
    return 1;
}

/* A server is ready for its next call. */
static void leave(struct hart *hart, struct enclave *server) {
    uint64_t *entry = kbuffer_entry(hart, server);
    if (*entry & PTE_D) touch(hart, pte_address(*entry)); /* which goes with the entry */
    *entry = 0;
    wrote(hart, entry);
    if (server->kind == TYPE_CONCURRENT_SERVER) {
        struct enclave *home = home_of(hart, server);
        home->busy &= ~(UINT64_C(1) << server->slot);
        wrote(hart, home);
        clear_stack(hart, server);
    }
    server->caller = 0;
    if (server->request_va) server->request = server->request_va = 0;
    server->top = address(hart, server);
    server->state = RUNNABLE;
    wrote(hart, server);
    struct registers *registers = registers_of(hart, server);
    memcpy(registers->own, registers->entry, sizeof registers->own);
    wrote(hart, registers);
}

/* Whether the struct of a caller is still where it was: its other slots have run meanwhile. */
static int has_struct(struct hart *hart, const struct enclave *caller, uint64_t pa) {
    uint64_t va = ((struct registers *)at(hart, caller->block))->own[A1];
    const struct call_struct *where = find_struct(hart, caller, va, PTE_R | PTE_W);
    return where != NULL && address(hart, where) == pa;
}

/* Count the monitor's write there as one of the caller, for `clear_stack`. */
static void note_stored(struct hart *hart, const struct enclave *caller) {
    uint64_t *entry = walk(hart, caller->root, ((struct registers *)at(hart, caller->block))->own[A1]);
    *entry |= PTE_D;
    wrote(hart, entry);
}

int return_to_caller(struct hart *hart, struct enclave *callee) {
    if (!callee->caller) return 0;
    struct enclave *caller = enclave_at(hart, callee->caller);
    struct enclave *from = home_of(hart, callee), *to = home_of(hart, caller);
    const struct call_struct *where = find_struct(hart, callee, hart_register(hart, A0), PTE_R);
    if (where == NULL || callee->struct_rest || from == to) return 0;
    if (caller->kind == TYPE_CONCURRENT_SERVER && !has_struct(hart, caller, callee->struct_pa)) return 0;
    if (hart->code[(callee->struct_pa - hart->base) >> 12]) return 0;
    struct call_struct results;
    memcpy(&results, where, sizeof results);
    int back = callee->request_va && results.req_vaddr && results.req_size >= callee->request_size;
    struct region *region = NULL;
    uint64_t place = 0, given = 0;
    if (back || results.resp_vaddr) {
        uint64_t va = back ? results.req_vaddr : results.resp_vaddr;
        if (back && results.resp_vaddr) return 0;
        region = find_region(hart, from, va, back ? results.req_size : results.resp_size);
        if (region == NULL || !may_give(hart, callee, region)) return 0;
        place = back ? place_for(hart, to, callee->request_va, region->size)
                     : place_below(hart, to, region->size);
        if (!place) return 0;
        given = place + va - region->va;
    }
    if (callee->request && (region == NULL || callee->request != address(hart, region))) return 0;

    /* Nothing can fail from here on. The callee's registers are discarded: `leave` makes those of its next call. */
    if (region != NULL) move_region(hart, region, from, to, place);
    if (region != NULL && caller->kind == TYPE_CONCURRENT_SERVER) receive(hart, caller, region);
    if (caller->kind == TYPE_CONCURRENT_SERVER) note_stored(hart, caller);
    struct call_struct *told = at(hart, callee->struct_pa);
    uint64_t fields[] = {
        results.resp_val, back ? given : 0, callee->request_size,
        back ? 0 : given, !back && region != NULL ? results.resp_size : 0,
    };
    memcpy(&told->resp_val, fields, sizeof fields);
    wrote(hart, told);
    struct enclave *top = top_of(hart, caller);
    top->innermost = address(hart, caller);
    wrote(hart, top);
    leave(hart, callee);
    registers_of(hart, caller)->own[A0] = 0;
    run(hart, caller);
    return 1;
}
