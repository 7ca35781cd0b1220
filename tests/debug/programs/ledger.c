/* A server with a flaw: a name that is too long for its place ends in what lies behind it. */
#include <string.h>

#include "eapp.h"

static struct {
    char name[8];
    long *entry;
} owner;
static long entries[4];

static void rename_owner(const char *name)
{
    for (int i = 0; name[i]; i++)
        owner.name[i] = name[i];
}

static long add(long amount)
{
    *owner.entry += amount;
    return *owner.entry;
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    unsigned long what = args[10];
    struct call_enclave_arg_t ret = {0};

    if (!owner.entry)
        owner.entry = entries;
    if (what == 1)
        rename_owner("Penelope of Ithaca");
    else if (what == 2)
        ret.resp_val = strlen(owner.name);
    else
        ret.resp_val = add(what);
    SERVER_RETURN(&ret);
}
