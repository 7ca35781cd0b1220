"""Runs RISC-V Linux programs as user processes of the host: `runner` puts it together.

program     loads the ELF, builds the first stack
space       the process's memory: areas, page faults, copies to and from user memory
threads     threads, scheduler, futex, time
files       what the program may open, and the descriptors
syscalls    the table of system calls
device      /dev/penglai_enclave_dev
"""
