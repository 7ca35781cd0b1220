/* What the client and the server NAME agree on. */
#ifndef SERVER
#define SERVER "NAME" /* at most 16 bytes */

enum operation { COUNT = 1 }; /* resp_val: how often this client has called, or an error number with a minus sign */

#endif
