/* Memory for enclaves: mmap, munmap and sbrk (§4), in the common case.
 *
 * Does what monitor/ocall.py does, if page tables exist and no page table of the host maps the block. Two Python
 * functions ask the host's allocator for a block, and tell it of one that is given back.
 * In C because the way through Python's host and monitor takes ten times as long as these two functions.
 */

#include "engine/native/sv39.h"
#include "monitor/native/calls.h"
#include "monitor/native/space.h"

#define LARGEST (MMAP_TOP - HEAP_BASE)
/* Larger blocks are left to Python, which zeroes them by giving them back to the operating system. */
#define MOST_PAGES UINT64_C(15)

/* Pages of the host's block for so many bytes: a power of two, with one page for the record. */
static uint64_t block_for(uint64_t size) {
    uint64_t pages = (size + PAGE - 1) >> 12, block = 1;
    while (block <= pages) block *= 2;
    return block;
}

static void touch_all(struct hart *hart, uint64_t pa, uint64_t pages) {
    for (uint64_t page = 0; page < pages; page++) touch(hart, pa + (page << 12));
}

/* Take a block from the host, and make a region of it, not yet mapped; NULL if Python has to decide. */
static struct region *take_block(struct hart *hart, const struct enclave *enclave, uint64_t pages) {
    uint64_t pa = calls_of(hart)->offer(pages << 12);
    if (!pa) return NULL;
    struct region *region = at(hart, pa);
    memset(region, 0, pages << 12);
    *region = (struct region){.block = pa, .block_pages = pages, .size = (pages - 1) << 12, .origin_eid = -1};
    touch_all(hart, pa, pages);
    set_owner(hart, region, PRIVATE | (enclave->eid + 1));
    return region;
}

/* Give the block of a region back to the host, cleared, with a table of it at its start (State.give_back). */
static void give_back(struct hart *hart, struct region *region) {
    uint64_t pa = region->block, pages = region->block_pages, *table = at(hart, pa);
    memset(table, 0, pages << 12);
    touch_all(hart, pa, pages);
    set_owner(hart, &(struct region){.block = pa, .block_pages = pages}, 0);
    table[1] = 1;
    table[2] = pa;
    table[3] = pages << 12;
}

/* Whether a region's pages were never executable, so that they can simply be given back. */
static int is_plain(const struct hart *hart, const struct region *region) {
    uint64_t first = (region->block - hart->base) >> 12;
    if (region->block != address(hart, region) || region->block_pages > MOST_PAGES) return 0;
    for (uint64_t page = 0; page < region->block_pages; page++)
        if (hart->code[first + page]) return 0;
    return 1;
}

/* Forget a region: no unfinished call of this chain gives it back any more. */
static void lose(struct hart *hart, struct enclave *innermost, const struct region *region) {
    struct enclave *link = innermost;
    while (1) {
        if (link->request == address(hart, region)) {
            link->request = 0;
            wrote(hart, link);
        }
        if (!link->caller) return;
        link = enclave_at(hart, link->caller);
    }
}

static int map_block(struct hart *hart, struct enclave *enclave) {
    uint64_t wanted = hart_register(hart, A1), size = hart_register(hart, A2);
    if (!size || size > LARGEST || wanted & (PAGE - 1)) return 0;
    uint64_t pages = block_for(size), mapped = (pages - 1) << 12;
    if (pages > MOST_PAGES || !can_ask(hart, enclave)) return 0;
    struct enclave *home = home_of(hart, enclave);
    uint64_t place = place_for(hart, home, wanted ? wanted : MMAP_TOP - mapped, mapped);
    struct region *region = place ? take_block(hart, home, pages) : NULL;
    if (region == NULL) return 0;
    ask(hart, enclave, OCALL_MMAP, size, 0);
    enclave->asked_where = wanted;
    enclave->asked_size = size;
    map_region(hart, region, home, place);
    link_region(hart, region, home);
    hart_set(hart, A0, place);
    return 1;
}

static int unmap_block(struct hart *hart, struct enclave *enclave) {
    uint64_t va = hart_register(hart, A1), size = hart_register(hart, A2);
    struct enclave *home = home_of(hart, enclave);
    struct region *region = find_region(hart, home, va, PAGE);
    if (region == NULL || !size || size > region->va + region->size - va) return 0;
    if (!may_give(hart, enclave, region)) return 0;
    if (!is_plain(hart, region) || !can_ask(hart, enclave)) return 0;
    uint64_t block = region->block;
    unlink_region(hart, region, home);
    unmap_region(hart, region, home);
    lose(hart, enclave, region);
    give_back(hart, region);
    ask(hart, enclave, OCALL_MUNMAP, block, 0);
    calls_of(hart)->take_back(block);
    hart_set(hart, A0, 0);
    return 1;
}

static int grow_heap(struct hart *hart, struct enclave *enclave, uint64_t size) {
    if (size & (PAGE - 1) || size > LARGEST) return 0;
    struct enclave *home = home_of(hart, enclave);
    uint64_t pages = block_for(size), mapped = (pages - 1) << 12, top = home->heap_top;
    if (pages > MOST_PAGES || !can_ask(hart, enclave)) return 0;
    if (mapped > lowest_of(hart, home) - top || !has_tables(hart, home, top, mapped)) return 0;
    struct region *region = take_block(hart, home, pages);
    if (region == NULL) return 0;
    ask(hart, enclave, OCALL_SBRK, size, 0);
    enclave->asked_where = 0;
    enclave->asked_size = size;
    map_region(hart, region, home, top);
    region->next = home->heap;
    home->heap = address(hart, region);
    home->heap_top = top + mapped;
    hart_set(hart, A0, home->heap_top);
    return 1;
}

/* The case that exactly one block, the last one, is above the new top. */
static int shrink_heap(struct hart *hart, struct enclave *enclave, uint64_t size) {
    struct enclave *home = home_of(hart, enclave);
    uint64_t top = home->heap_top - size;
    struct region *region = home->heap ? at(hart, home->heap) : NULL;
    if (size & (PAGE - 1) || size > home->heap_top || region == NULL || region->va < top) return 0;
    const struct region *below = region->next ? at(hart, region->next) : NULL;
    if (below != NULL && below->va >= top) return 0;
    if (!is_plain(hart, region) || !can_ask(hart, enclave)) return 0;
    uint64_t block = region->block;
    home->heap = region->next;
    home->heap_top = region->va;
    unmap_region(hart, region, home);
    give_back(hart, region);
    enclave->asked_where = enclave->asked_size = 0;
    ask(hart, enclave, OCALL_SBRK, 0, block);
    calls_of(hart)->take_back(block);
    hart_set(hart, A0, home->heap_top);
    return 1;
}

int memory_ocall(struct hart *hart, struct enclave *enclave, uint64_t number) {
    const struct calls *calls = calls_of(hart);
    if (!calls->blocks || calls->offer == NULL || calls->host_maps) return 0;
    int64_t size = (int64_t)hart_register(hart, A1);
    switch (number) {
    case OCALL_MMAP: return map_block(hart, enclave);
    case OCALL_MUNMAP: return unmap_block(hart, enclave);
    case OCALL_SBRK:
        if (size > 0) return grow_heap(hart, enclave, (uint64_t)size);
        return size < 0 && shrink_heap(hart, enclave, -(uint64_t)size);
    default: return 0;
    }
}
