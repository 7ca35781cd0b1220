"""The guest compiler: makes ELFs from C and the libraries in `guest/`; also builds parts of the package.

Nothing here imports the machine.

guest      files of the package: headers, examples, attacks, and their ELFs
zig        the compiler of ziglang
enclave    enclaves                          host       host programs, for two C libraries
arguments  a compiler's command line         objects    properties of object files that affect linking
library    the libraries of enclaves         check      the memory checker
project    a new project
strip      removes unused parts of ELFs, with lief
core       builds the native core: the C of the package as one library
layout     parses the layouts in C headers ahead of time
rebuild    makes the committed ELFs again: `python -m pltvm.build`
"""
