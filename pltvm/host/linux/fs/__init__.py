"""The files that programs see, by path.

filesystem  acts on paths; `changes` on folders and on what is known of files
paths       where they lead, and never outside of the root: to a `place`, where `opening` opens what is there
nodes       what is on no disk: `own_tree` has all of it, `proc` the processes; `fifo` stands for a named pipe
marks       inode numbers, times and modes that programs are told, so that runs repeat
shm         /dev/shm, of files in memory
room        how much they may leave on the disk
locks       of ranges and of whole files
"""
