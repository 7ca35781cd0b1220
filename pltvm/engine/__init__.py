"""A RISC-V machine that knows nothing of Penglai.

Guest RAM (`memory`), one CPU (`hart`), who gets its traps (`handlers`), who watches it (`hooks`), who has it
leave guest code that does not trap (`preemption`), what Unicorn does otherwise than a CPU (`quirks`),
instructions that it lacks (`bits`, `emulate`, `skipped`), what S-mode needs (`supervisor`), what stops it
(`trap`), saved registers (`context`), page tables (`sv39`) and physical memory protection (`pmp`). Everything
a guest may or may not touch is decided by the page tables and PMP entries that Unicorn's JIT walks itself;
Python only writes them, and walks them for the loads and stores that it emulates.
"""
