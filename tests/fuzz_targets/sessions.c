/* The server sessions: collects bytes of its clients.
 *
 *     OPEN       begins a session; resp_val is its handle
 *     CONFIGURE  says how large it gets, 1 to 1024 bytes
 *     APPEND     adds bytes
 *     CLOSE      ends it; resp_val is how many bytes it had
 *
 * resp_val is an error number with a minus sign if it fails.
 *
 * Bug: CLOSE forgets that a session which is configured is a session too: its buffer is gone, and its state is as it
 * was. Open, configure, close, append: NULL is written to.
 *
 * fuzz: --as server --calls 6
 * finds: fault
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "eapp.h"

#define SESSIONS 4
#define LARGEST 1024

enum operation { OPEN = 1, CONFIGURE = 2, APPEND = 3, CLOSE = 4 };

struct request {
    uint32_t handle;
    uint32_t size; /* of CONFIGURE and APPEND */
    unsigned char bytes[LARGEST];
};

static struct session {
    enum { CLOSED, OPENED, CONFIGURED } state;
    size_t size, used;
    unsigned char *buffer;
} sessions[SESSIONS];

static unsigned char buffers[SESSIONS][LARGEST];

static long open(void)
{
    for (long i = 0; i < SESSIONS; i++)
        if (sessions[i].state == CLOSED) {
            sessions[i].state = OPENED;
            return i;
        }
    return -ENFILE;
}

static long configure(struct session *session, size_t size)
{
    if (session->state != OPENED)
        return -EBADF;
    if (size == 0 || size > LARGEST)
        return -EINVAL;
    session->buffer = buffers[session - sessions];
    session->size = size;
    session->used = 0;
    session->state = CONFIGURED;
    return 0;
}

static __attribute__((noinline)) long append(struct session *session, const unsigned char *bytes, size_t size)
{
    if (session->state != CONFIGURED)
        return -EBADF;
    if (size > session->size - session->used)
        return -ENOSPC;
    memcpy(session->buffer + session->used, bytes, size);
    session->used += size;
    return (long)session->used;
}

static long close(struct session *session)
{
    if (session->state == CLOSED)
        return -EBADF;
    if (session->buffer)
        memset(session->buffer, 0, LARGEST); /* the next session is another client's */
    session->buffer = NULL;
#ifdef FIXED
    session->state = CLOSED;
#else
    if (session->state == OPENED)
        session->state = CLOSED;
#endif
    return (long)session->used;
}

static long serve(unsigned long operation, const struct request *request)
{
    struct session *session = &sessions[request->handle % SESSIONS];

    if (operation == OPEN)
        return open();
    if (request->handle >= SESSIONS)
        return -EBADF;
    switch (operation) {
    case CONFIGURE:
        return configure(session, request->size);
    case APPEND:
        return append(session, request->bytes, request->size);
    case CLOSE:
        return close(session);
    default:
        return -ENOSYS;
    }
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    const struct request *request = (const struct request *)args[11];
    struct call_enclave_arg_t ret = {.resp_val = -EINVAL, .req_vaddr = args[11], .req_size = args[12]};

    if (request)
        ret.resp_val = serve(args[10], request);
    SERVER_RETURN(&ret);
}
