"""Tools that look into a running machine: above the machine, and no lower layer imports them.

stops      stops a run at breakpoints, after a step, at faults, on demand; independent of gdb
watching   watchpoints: stops when watched memory is read or written
viewing    enclaves and processes, their threads and memory, as debuggers see them
words      descriptions of the machine: chain, pages, owners, page tables, PMP
history    goes back in time: checkpoints, and re-runs
recording  records a run, or compares a run with a recording; packed is the file, rooted a program's
           files
trace/     writes all events to a file
gdb/       the remote protocol of gdb and lldb, on a socket or a pipe
"""
