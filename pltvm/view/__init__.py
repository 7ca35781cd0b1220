"""A view of a machine from outside: its enclaves, page tables, owners of pages, and events.

    enclave.py      Enclave: runs an enclave and looks into it; enclaves.py all living enclaves
    registers.py    registers by their ABI names        mappings.py    what is mapped, in rows
    page_table.py   a page table as a tree              memory.py      PMP entries, and owners of pages
    events.py       events, as data                     changes.py     finds changes in RAM
    hooks.py        types of hooks; watching.py calls them, in place of handlers while there are any
    who.py          who has the hart, or a page         shown.py       small tables, as text and HTML

Nothing here runs at a trap unless there are hooks. It reads the monitor's records as a debug port of a real
machine would; no lower layer imports it.
"""
