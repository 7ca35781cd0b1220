/* Messages with and without newline, long ones, empty ones, and what a format would take for its own. */
#include "bare.h"

static void say_filled(char byte, size_t size)
{
    fill(KBUFFER, '\0', PAGE);
    fill(KBUFFER, byte, size);
    ocall(WRITE, 0, 0, 0);
}

void program(const u64 *x)
{
    (void)x;
    say("no newline");
    say("newline\n");
    say("");
    say("two\nlines");
    say("100 %d %s %n %%");
    say("\n");
    say("ends in two\n\n");
    say_filled('a', 510);
    say_filled('b', 511);
    say_filled('c', 512);
    say_filled('d', PAGE); /* no NUL at all */
    fill(KBUFFER, 'e', 510);
    KBUFFER[510] = '\n';
    ocall(WRITE, 0, 0, 0); /* 511 bytes: the newline is the last of them */
    fill(KBUFFER, 'f', 511);
    KBUFFER[511] = '\n';
    ocall(WRITE, 0, 0, 0); /* 512 bytes: the newline is not printed, and then it is */
    leave(0x600d);
}
