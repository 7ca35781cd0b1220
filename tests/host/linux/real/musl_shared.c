// A library of musl.c, with thread-local storage of its own; and, with PLUGIN, one that needs it.
#ifdef PLUGIN
#include <stdio.h>

int shared_value(int add);

__attribute__((constructor)) static void begin(void) { puts("the plugin is there"); }

int plugin(int add) { return shared_value(add) * 2; }
#else
static __thread int value = 10;

int shared_value(int add) { return value += add; }
#endif
