"""The files that programs see, by path.

filesystem  operations by path; `changes` those that change folders and attributes
paths       resolves paths, never outside the root, to a `place`; `opening` opens the file there
nodes       files on no disk: `own_tree` has all of them, `proc` the processes; `fifo` is a named pipe
marks       inode numbers, times and modes for programs, so that runs repeat
shm         /dev/shm, of files in memory
room        limits on what programs may leave on the disk
locks       of ranges and of whole files
"""
