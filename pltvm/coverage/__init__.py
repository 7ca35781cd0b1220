"""Which code of enclaves ran: in plain runs, and of the inputs of a fuzz campaign.

blocks     counts the blocks of code that a machine runs, by enclave, in C (`native`) or Python
recorder   … of several machines, with the ELFs that they belong to
module     what ran of one ELF
lcov       … as lines and functions of its source         drcov   … as blocks, for disassemblers
"""
