/* Uses the server kv-store: puts, gets, lists and deletes values. Prints "[kv] ok" at the end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eapp.h"
#include "kv_protocol.h"
#include "print.h"

#define SIZE (3 * PAGE_SIZE) /* a page for the request, two for the value */

static struct kv_request *request;

static char *value(void)
{
    return (char *)request + KV_VALUE;
}

static enum kv_result ask(enum kv_operation operation, const char *key)
{
    long server = acquire_enclave(KV_SERVER);

    if (server == -1) {
        eapp_print("[kv] there is no %s: create it first\n", KV_SERVER);
        EAPP_RETURN(1);
    }
    strncpy(request->key, key, KV_KEY_SIZE);

    struct call_enclave_arg_t arg = {
        .req_arg = operation,
        .req_vaddr = (unsigned long)request,
        .req_size = SIZE,
    };
    long result = call_enclave(server, &arg);

    if (result != 0 || !arg.req_vaddr) {
        eapp_print("[kv] the call failed: %ld\n", result);
        EAPP_RETURN(1);
    }
    request = (struct kv_request *)arg.req_vaddr;
    return arg.resp_val;
}

static void put(const char *key, const char *text)
{
    request->size = strlen(text) + 1;
    strcpy(value(), text);
    eapp_print("[kv] put %s: result %d\n", key, ask(KV_PUT, key));
}

static void get(const char *key)
{
    enum kv_result result = ask(KV_GET, key);

    if (result == KV_OK)
        eapp_print("[kv] get %s: \"%.*s\"\n", key, (int)request->size, value());
    else
        eapp_print("[kv] get %s: result %d\n", key, result);
}

static void list(void)
{
    if (ask(KV_LIST, "") != KV_OK)
        return;
    printf("[kv] %lu keys:", request->size);
    for (unsigned long i = 0; i < request->size; i++)
        printf(" %.*s", KV_KEY_SIZE, value() + i * KV_KEY_SIZE);
    printf("\n");
}

int EAPP_ENTRY main()
{
    request = eapp_mmap(NULL, SIZE);
    if (!request) {
        eapp_print("[kv] no memory for requests\n");
        EAPP_RETURN(1);
    }

    list();
    put("colour", "green");
    put("shape", "round");
    get("colour");
    put("colour", "blue");
    get("colour");
    get("taste");
    list();
    eapp_print("[kv] delete shape: result %d\n", ask(KV_DELETE, "shape"));
    get("shape");
    eapp_print("[kv] ok\n");
    EAPP_RETURN(0);
}
