"""The guest compiler: C with the libraries in `guest/` in, ELFs out. Nothing here knows of the machine.

guest      what comes with the package: headers, examples, attacks, and their ELFs
zig        the compiler of ziglang
enclave    enclaves                          host       host programs, for two C libraries
strip      what nobody reads is taken out of ELFs, with lief
rebuild    the committed ELFs made anew: `python -m pltvm.build`
"""
