"""The remote protocol of gdb, which lldb speaks too: each enclave is a process of its own.

packets     bytes to packets, and back
link        one client, on a socket or a pipe; others are refused
session     the loop: the run stops, packets are answered until it goes on, and at last it ends
answers     types of answers
whom        the processes and threads, and which of them the client has chosen
contents    registers and memory
going       breakpoints, and how the run goes on
transfers   objects of qXfer, files, commands of `monitor`
telling     reports of stops
resuming    going on: steps, lines, calls between enclaves
backwards   going back: to a breakpoint, a write, by a step
replies     texts of replies: lists, descriptions, regions of memory
files       the ELFs of the session, as files that a debugger reads
registers   the registers and their order
script.py   runs inside gdb: `up` and `next` across calls of enclaves
"""
