/* C++ finds this one before that of musl, whose headers come first there: pltvm/build/zig.py. */
#include "../threads.h"
