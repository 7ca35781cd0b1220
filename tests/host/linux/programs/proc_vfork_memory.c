/* vfork's child runs in its parent's memory, so what it writes stays. */
#include "say.h"

static volatile int written;

int main(void) {
    volatile int *heap = malloc(sizeof *heap);
    *heap = 1;
    pid_t child = vfork();
    if (!child) {
        written = 42;
        *heap = 43;
        _exit(0);
    }
    say("parent sees: %d %d", written, *heap);
    reap("child", child);
    return 0;
}
