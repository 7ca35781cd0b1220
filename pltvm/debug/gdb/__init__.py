"""The remote protocol of gdb, which lldb speaks too: each enclave is a process of its own.

packets     bytes to packets, and back
link        one client, on a socket or a pipe; who else comes is refused
session     the loop: the run stops, packets are answered until it goes on, and at last it ends
answers     what an answer can be
whom        which processes and threads there are, and which the client has chosen
contents    registers and memory
going       places to stop at, and how the run is to go on
transfers   objects of qXfer, files, commands of `monitor`
telling     what is told of a stop
resuming    how it goes on: steps, lines, calls between enclaves
backwards   and how it goes back: to a place, a write, by a step
replies     texts of these: lists, descriptions, regions of memory
files       the ELFs of the session, as files that a debugger reads
registers   which there are, and in what order
script.py   what gdb itself runs: `up` and `next` across calls of enclaves
"""
