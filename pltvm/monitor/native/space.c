/* Finds regions and moves them from one enclave to another, with their page-table entries and owner.
 *
 * In C because each call that passes memory does this twice: at the call and at the return.
 */

#include "monitor/native/space.h"
#include "engine/native/sv39.h"

static struct region *region_at(struct hart *hart, uint64_t pa) { return pa ? at(hart, pa) : NULL; }

struct region *find_region(struct hart *hart, const struct enclave *enclave, uint64_t va, uint64_t size) {
    if ((va | size) & (PAGE - 1) || !size) return NULL;
    for (struct region *region = region_at(hart, enclave->mmaps); region && region->va <= va;
         region = region_at(hart, region->next)) {
        if (va - region->va < region->size) return size <= region->size - (va - region->va) ? region : NULL;
    }
    return NULL;
}

int has_tables(const struct hart *hart, const struct enclave *enclave, uint64_t va, uint64_t size) {
    for (uint64_t at = va >> 21; at <= (va + size - 1) >> 21; at++)
        if (walk(hart, enclave->root, at << 21) == NULL) return 0;
    return 1;
}

static int is_mapped(const struct hart *hart, const struct enclave *enclave, uint64_t va) {
    const uint64_t *entry = walk(hart, enclave->root, va);
    return entry != NULL && *entry & PTE_V;
}

static int is_free(struct hart *hart, const struct enclave *enclave, uint64_t va, uint64_t size) {
    if (va > MMAP_TOP - size || va < enclave->heap_top) return 0;
    if (is_mapped(hart, enclave, va) || is_mapped(hart, enclave, va + size - PAGE)) return 0;
    for (struct region *region = region_at(hart, enclave->mmaps); region && region->va < va + size;
         region = region_at(hart, region->next)) {
        if (region->va + region->size > va) return 0;
    }
    return 1;
}

uint64_t place_for(struct hart *hart, const struct enclave *enclave, uint64_t wanted, uint64_t size) {
    if (wanted >= MMAP_TOP || size > MMAP_TOP) return 0;
    if (!is_free(hart, enclave, wanted, size)) return place_below(hart, enclave, size);
    return has_tables(hart, enclave, wanted, size) ? wanted : 0;
}

uint64_t lowest_of(struct hart *hart, const struct enclave *enclave) {
    return enclave->mmaps ? region_at(hart, enclave->mmaps)->va : MMAP_TOP;
}

uint64_t place_below(struct hart *hart, const struct enclave *enclave, uint64_t size) {
    uint64_t lowest = lowest_of(hart, enclave);
    if (size > lowest - enclave->heap_top) return 0;
    return has_tables(hart, enclave, lowest - size, size) ? lowest - size : 0;
}

void unlink_region(struct hart *hart, struct region *region, struct enclave *enclave) {
    struct region *before = region_at(hart, region->prev), *after = region_at(hart, region->next);
    if (after) {
        after->prev = region->prev;
        wrote(hart, after);
    }
    if (before) {
        before->next = region->next;
        wrote(hart, before);
    } else {
        enclave->mmaps = region->next;
    }
}

void link_region(struct hart *hart, struct region *region, struct enclave *enclave) {
    struct region *before = NULL, *after = region_at(hart, enclave->mmaps);
    while (after && after->va <= region->va) {
        before = after;
        after = region_at(hart, after->next);
    }
    region->next = after ? address(hart, after) : 0;
    region->prev = before ? address(hart, before) : 0;
    if (after) {
        after->prev = address(hart, region);
        wrote(hart, after);
    }
    if (before) {
        before->next = address(hart, region);
        wrote(hart, before);
    } else {
        enclave->mmaps = address(hart, region);
    }
}

static uint64_t first_page(const struct region *region) {
    return region->block + (region->block_pages << 12) - region->size;
}

void map_region(struct hart *hart, struct region *region, struct enclave *enclave, uint64_t va) {
    uint64_t entry = first_page(region) >> 2 | PTE_V | PTE_R | PTE_W | PTE_U | PTE_A | PTE_D;
    for (uint64_t done = 0; done < region->size; done += PAGE, entry += PAGE >> 2) {
        uint64_t *where = walk(hart, enclave->root, va + done);
        *where = entry;
        wrote(hart, where);
    }
    region->va = va;
    wrote(hart, region);
    wrote(hart, enclave);
    hart_flush(hart);
}

void unmap_region(struct hart *hart, struct region *region, struct enclave *enclave) {
    for (uint64_t done = 0; done < region->size; done += PAGE) {
        uint64_t *where = walk(hart, enclave->root, region->va + done);
        *where = 0;
        wrote(hart, where);
        touch(hart, first_page(region) + done); /* the D bits go with the entries */
    }
    wrote(hart, enclave);
    hart_flush(hart);
}

/* All entries of a range go to another range, whose tables exist. */
static void move_entries(struct hart *hart, uint64_t from, uint64_t va, uint64_t to, uint64_t goal, uint64_t size) {
    while (size) {
        uint64_t *source = walk(hart, from, va), *sink = walk(hart, to, goal);
        uint64_t count = size >> 12, left = 512 - (va >> 12 & 511), room = 512 - (goal >> 12 & 511);
        if (count > left) count = left;
        if (count > room) count = room;
        memcpy(sink, source, 8 * count);
        memset(source, 0, 8 * count);
        wrote(hart, source);
        wrote(hart, sink);
        va += count << 12;
        goal += count << 12;
        size -= count << 12;
    }
}

void set_owner(struct hart *hart, const struct region *region, uint32_t owner) {
    uint32_t *entries = calls_of(hart)->owners + ((region->block - hart->base) >> 12);
    for (uint64_t i = 0; i < region->block_pages; i++) {
        entries[i] = owner;
        wrote(hart, entries + i);
    }
}

void move_region(struct hart *hart, struct region *region, struct enclave *source, struct enclave *target,
                 uint64_t va) {
    region->origin_eid = source->eid;
    region->origin_va = region->va;
    region->holder = region->call = 0;
    unlink_region(hart, region, source);
    move_entries(hart, source->root, region->va, target->root, va, region->size);
    region->va = va;
    link_region(hart, region, target);
    wrote(hart, region);
    wrote(hart, source);
    wrote(hart, target);
    set_owner(hart, region, PRIVATE | (target->eid + 1));
}
