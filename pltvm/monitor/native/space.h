/* The mappings of an enclave: does what monitor/space.py does, if no table has to be made.
 *
 * Slots of a concurrent server share them: functions here take the server (`home_of`). */

#ifndef PLTVM_SPACE_H
#define PLTVM_SPACE_H

#include "monitor/native/calls.h"

/* The region of the mmap area with this range, of whole pages; NULL if there is none. */
struct region *find_region(struct hart *hart, const struct enclave *enclave, uint64_t va, uint64_t size);

/* The address for so many bytes: `wanted` if that is free, else below the lowest region. 0 if Python decides. */
uint64_t place_for(struct hart *hart, const struct enclave *enclave, uint64_t wanted, uint64_t size);

/* The address for so many bytes below the lowest region; 0 if Python decides. */
uint64_t place_below(struct hart *hart, const struct enclave *enclave, uint64_t size);

/* First address of the lowest region of the mmap area. */
uint64_t lowest_of(struct hart *hart, const struct enclave *enclave);

/* Whether the tables for a range exist. */
int has_tables(const struct hart *hart, const struct enclave *enclave, uint64_t va, uint64_t size);

/* Insert a region into the list of the mmap area, in order of its address; remove it. */
void link_region(struct hart *hart, struct region *region, struct enclave *enclave);
void unlink_region(struct hart *hart, struct region *region, struct enclave *enclave);

/* Set the entries of a region at `va`, whose tables exist; clear them. */
void map_region(struct hart *hart, struct region *region, struct enclave *enclave, uint64_t va);
void unmap_region(struct hart *hart, struct region *region, struct enclave *enclave);

/* Set the owner of a region's block in the page bitmap; `owner` is a bitmap entry. */
void set_owner(struct hart *hart, const struct region *region, uint32_t owner);

/* Move a region from one enclave to another, at an address found by the functions above, with its owner. */
void move_region(struct hart *hart, struct region *region, struct enclave *source, struct enclave *target,
                 uint64_t va);

#endif
