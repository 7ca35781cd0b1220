/* A word that is written once, and then a long computation: how far is it back to that write? */
#include "eapp.h"
#include "print.h"

volatile unsigned long word = 1;
volatile unsigned long table[1024];
volatile unsigned long rounds = 0x1122334455667788;

int EAPP_ENTRY main() {
    unsigned long s = 88172645463325252UL;
    word = 7;
    for (unsigned long i = 0; i < rounds; i++) {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        table[s & 1023] += s;
    }
    eapp_print("%lu\n", s & 0xff);
    EAPP_RETURN(0);
}
