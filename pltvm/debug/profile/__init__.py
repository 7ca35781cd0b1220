"""Exact counts of what guests execute, by function, line and enclave.

table.py     the memory with the counts; ../native/profile.c counts, native.py is its Python side
count.py     the same in Python: the reference, used without the native core
rows.py      the results of both
collector.py puts a counter on a machine, and finds the enclave and the function of code
result.py    the result: a tree of calls, tables, sums
text.py      prints it as tables
speedscope.py, callgrind.py   write it in formats of other tools
"""

from pltvm.debug.profile.collector import profiling
from pltvm.debug.profile.result import Profile

__all__ = ["Profile", "profiling"]
