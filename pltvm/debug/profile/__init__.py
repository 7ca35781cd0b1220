"""Exact counts of what guests execute, by function, line and enclave.

table.py     the memory that is counted in; ../native/profile.c counts, native.py is its Python side
count.py     the same in Python: the reference, and what runs without the native core
rows.py      what both give
collector.py puts a counter on a machine, and knows whose registers and which function something is
result.py    what came of it: a tree of calls, tables, sums
text.py      as tables for people
speedscope.py, callgrind.py   as files of other tools
"""

from pltvm.debug.profile.collector import profiling
from pltvm.debug.profile.result import Profile

__all__ = ["Profile", "profiling"]
