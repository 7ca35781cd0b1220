"""Looking into a machine that runs: above the machine, and nothing below knows of it.

stops      the run is stopped at places in code, after a step, at faults, on demand; knows nothing of gdb
watching   and when watched memory is read or written
viewing    what is there to be looked at: enclaves and processes, their threads, their memory
words      the machine in words: chain, pages, owners, page tables, PMP
history    and goes back: checkpoints, and re-runs
recording  a run is noted, or compared with one that was; packed is the file, rooted what a program found
trace/     what happens, as a file
gdb/       the remote protocol of gdb and lldb, on a socket or a pipe
"""
