/* The protocol between a client and the key-value server.
 *
 * The server is a server enclave called "kv-store". One request is one call_enclave:
 *
 *     req_arg     what to do: enum kv_operation
 *     req_vaddr   pages of the client: struct kv_request at the start, the value from KV_VALUE on
 *     req_size    their size: at least one page
 *     resp_val    a result of enum kv_result
 *
 * The pages move to the server and come back with the answer: nothing is copied on the way.
 *
 *     operation   fields used            gives
 *     KV_PUT      key, size, value       -; an older value of the key is replaced
 *     KV_GET      key                    size, value
 *     KV_DELETE   key                    -
 *     KV_LIST     -                      size: number of own keys; as many as fit, KV_KEY_SIZE bytes each, as value
 *
 * A key is any text of 1 to 31 bytes, NUL included in its field. Keys belong to the client that put them
 * (get_caller_id): two clients can use the same key, and do not see each other's.
 */
#ifndef PLTVM_KV_PROTOCOL_H
#define PLTVM_KV_PROTOCOL_H

#include <stdint.h>

#include "eapp.h"

#define KV_SERVER "kv-store"
#define KV_KEY_SIZE 32 /* with the NUL */
#define KV_VALUE PAGE_SIZE
#define KV_LARGEST_VALUE (16 * PAGE_SIZE)
#define KV_MOST_KEYS 64 /* of one client */

enum kv_operation {
    KV_PUT = 1,
    KV_GET = 2,
    KV_DELETE = 3,
    KV_LIST = 4,
};

enum kv_result {
    KV_OK = 0,
    KV_NOT_FOUND = 1,
    KV_BAD_OPERATION = 2,
    KV_NO_PAGES = 3,  /* the request came without pages */
    KV_BAD_KEY = 4,   /* empty, or without NUL */
    KV_BAD_SIZE = 5,  /* of a value that does not fit into the pages passed, or that is too large */
    KV_FULL = 6,      /* the client has KV_MOST_KEYS, or the server's memory is used up */
    KV_TOO_SMALL = 7, /* the value does not fit into the pages passed; size says what it takes */
};

struct kv_request {
    uint64_t size;
    char key[KV_KEY_SIZE];
};

#endif
