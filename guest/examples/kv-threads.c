/* The server kv-store for several clients at once: what kv-server.c does, with a lock around all that it keeps.
 *
 * Create it as a concurrent server. A client waits for the lock only while another one is served, and lets the host run
 * others meanwhile.
 */
#include "threads.h"

static struct mutex lock = MUTEX_INIT;

#undef EAPP_ENTRY
#undef SERVER_RETURN
#define EAPP_ENTRY
#define SERVER_RETURN(arg) (mutex_unlock(&lock), server_return(arg))
#define main serve_one
#include "kv-server.c"
#undef main

int __attribute__((used, section(".text.eapp_entry"))) main()
{
    mutex_lock(&lock);
    return serve_one();
}
