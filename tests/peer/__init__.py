"""A second host library, written from docs/penglai-abi.md alone, and host programs that rely on it.

    guest/peer.h, device.c, library.c   the library: leaves undefined what it may, checks every result
    guest/rows_*.c                      the table of §8, row by row
    guest/programs.c, threads.c         host programs as people write them
    guest/enclaves/                     enclaves for them, most of them without an SDK
    build.py                            compiles them, for each C library, optimization and float ABI, once
    cases.py                            what is run and what must come out

`pytest tests/peer` runs each case in two variants; `python -m tests.peer --all` runs all, ten times.
"""
