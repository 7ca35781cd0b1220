/* The mappings of an enclave: what monitor/space.py does, where no table has to be made.
 *
 * Slots of a concurrent server have the same ones: here their server stands for them (`home_of`). */

#ifndef PLTVM_SPACE_H
#define PLTVM_SPACE_H

#include "monitor/native/calls.h"

/* The region of the mmap area with this range, of whole pages; NULL if there is none. */
struct region *find_region(struct hart *hart, const struct enclave *enclave, uint64_t va, uint64_t size);

/* Where so many bytes go: at `wanted` if that is free, else below the lowest region. 0 where Python decides. */
uint64_t place_for(struct hart *hart, const struct enclave *enclave, uint64_t wanted, uint64_t size);

/* Where so many bytes go below the lowest region; 0 likewise. */
uint64_t place_below(struct hart *hart, const struct enclave *enclave, uint64_t size);

/* First address of the lowest region of the mmap area. */
uint64_t lowest_of(struct hart *hart, const struct enclave *enclave);

/* Whether the tables for a range are there. */
int has_tables(const struct hart *hart, const struct enclave *enclave, uint64_t va, uint64_t size);

/* Put a region into the list of the mmap area, in order of its address; take it out. */
void link_region(struct hart *hart, struct region *region, struct enclave *enclave);
void unlink_region(struct hart *hart, struct region *region, struct enclave *enclave);

/* Set the entries of a region at `va`, for which there are tables; clear them. */
void map_region(struct hart *hart, struct region *region, struct enclave *enclave, uint64_t va);
void unmap_region(struct hart *hart, struct region *region, struct enclave *enclave);

/* Say in the page bitmap whose the block of a region is: an entry of it. */
void set_owner(struct hart *hart, const struct region *region, uint32_t owner);

/* Take a region out of one enclave and into another at a place from above, and make it the other's. */
void move_region(struct hart *hart, struct region *region, struct enclave *source, struct enclave *target,
                 uint64_t va);

#endif
