/* Something to go back in: a word that is written a few times, by `set`, between long computations. The number
 * of rounds is in the shared memory.
 */
#include "eapp.h"
#include "print.h"

volatile unsigned long word = 1, other;
volatile unsigned long table[1024];

static unsigned long mix(unsigned long s, unsigned long rounds) {
    for (unsigned long i = 0; i < rounds; i++) {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        table[s & 1023] += s;
    }
    return s;
}

void __attribute__((noinline)) set(unsigned long value) { word = value; }

int EAPP_ENTRY main() {
    unsigned long *args;
    EAPP_RESERVE_REG;
    unsigned long rounds = *(unsigned long *)args[10], s = 88172645463325252UL;
    for (unsigned long i = 2; i < 6; i++) {
        s = mix(s, rounds);
        set(i);
        other = i;
        eapp_print("%lu: %lu\n", i, s & 0xffff);
    }
    s = mix(s, rounds);
    eapp_print("end %lu\n", s & 0xffff);
    EAPP_RETURN(word);
}
