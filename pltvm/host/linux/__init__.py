"""Runs RISC-V Linux programs as user processes of the host: `runner` puts it together.

process     what a process has, how it starts and ends; `traps` is what happens when it traps
program     loads the ELF, builds the first stack
space       the process's memory: areas, page faults, copies to and from user memory
threads     threads, scheduler, futex, time
paths       where a path leads: one folder at a time, never out of the root
files       what the program has open (`file`: one such), and what it does by path; `room` is what it may
            leave on the disk
syscalls    the table of system calls; those about files in `fs_calls`, by path in `path_calls`
device      /dev/penglai_enclave_dev
"""
