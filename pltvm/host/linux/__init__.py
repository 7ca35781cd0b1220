"""Runs RISC-V Linux programs as user processes of the host: `runner` puts the parts together.

system      the processes of one run, and shared state; `life` starts and ends them
process     processes and threads; `scheduler` decides which thread runs, `waits` has those that wait
traps       handles traps of threads: system calls, page faults, time slices
table       the table of system calls, each with declared `arguments`; they are in `calls`, one file per
                subject, and the structs that they pass in memory in `structs`
signals     sends signals; `delivery` handles them in the thread that gets them, `timers` send some
space       a process's memory: areas, page faults, copies; `program` loads an ELF into it,
                and `start_stack` builds its first stack
files       open files, one file per kind; `fs` finds files by path
device      /dev/penglai_enclave_dev
"""
