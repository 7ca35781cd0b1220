"""The guest compiler: C with the libraries in `guest/` in, ELFs out; and what makes the package itself.

Nothing here knows of the machine.

guest      what comes with the package: headers, examples, attacks, and their ELFs
zig        the compiler of ziglang
enclave    enclaves                          host       host programs, for two C libraries
arguments  a compiler's command line         objects    what object files say that decides how they are linked
library    what enclaves are linked with     check      the memory checker
project    a new project
strip      what nobody reads is taken out of ELFs, with lief
core       the native core: the C of the package as one library
layout     what C headers lay out, parsed before anyone waits for it
rebuild    the committed ELFs made anew: `python -m pltvm.build`
"""
