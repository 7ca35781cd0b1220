/* A server that answers each request with a large number, and keeps the pages of FS_WRITE. */
#include "eapp.h"
#include "fs_protocol.h"

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t ret = {.resp_val = 1UL << 20};

    if (args[10] != FS_WRITE) {
        ret.req_vaddr = args[11];
        ret.req_size = args[12];
    }
    SERVER_RETURN(&ret);
}
