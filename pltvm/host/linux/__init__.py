"""Runs RISC-V Linux programs as user processes of the host: `runner` puts it together.

system      the processes of one run, and what they share; `life` starts and ends them
process     what a process and a thread have; `scheduler` says which thread runs, `waits` what others wait for
traps       what happens when one traps: system calls, page faults, time slices
table       the table of system calls, each with declared `arguments`; they are in `calls`, a file a subject,
            and the structs that they pass in memory in `structs`
signals     how a signal is sent; `delivery` what it does to the thread that it reaches, `timers` send some
space       a process's memory: areas, page faults, copies; `program` loads an ELF into it,
            and `start_stack` builds what it starts on
files       what can be open, a file a kind; `fs` what is found by path
device      /dev/penglai_enclave_dev
"""
