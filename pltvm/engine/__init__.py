"""A RISC-V machine without any knowledge of Penglai.

It has guest RAM (`memory`), one CPU (`hart`), handlers of traps (`handlers`), hooks (`hooks`), ways to leave
guest code that does not trap (`preemption`), corrections of Unicorn (`quirks`), instructions that Unicorn
lacks (`bits`, `emulate`, `skipped`), support for S-mode (`supervisor`), trap causes (`trap`), saved registers
(`context`), page tables (`sv39`) and physical memory protection (`pmp`). The page tables and PMP entries
alone, which Unicorn's JIT walks itself, decide what a guest may access; Python only writes them, and walks
them for the loads and stores that it emulates.
"""
