"""A machine looked at from outside: what its enclaves, tables and owners are, and what happens on it.

    enclave.py      Enclave: one of a machine, to run it and to look into it; enclaves.py all that live
    registers.py    registers by their ABI names        mappings.py    what is mapped, in rows
    page_table.py   a page table as a tree              memory.py      PMP entries, and who owns which pages
    events.py       what can happen, as data            changes.py     what has changed in RAM
    hooks.py        what a hook is; watching.py calls them, in place of handlers while there are any
    who.py          who had the hart, in words          shown.py       small tables, as text and HTML

Nothing here is asked at a trap unless somebody watches. It looks at the monitor's records as a debug port of
a real machine would; nothing below knows of it.
"""
