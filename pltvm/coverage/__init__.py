"""Coverage: the code of enclaves that ran, in plain runs and for the inputs of a fuzz campaign.

blocks     counts the blocks of code that a machine runs, by enclave, in C (`native`) or Python
recorder   collects the counts of several machines, by ELF
module     the blocks of one ELF that ran
lcov       writes lines and functions of the source     drcov   writes blocks, for disassemblers
"""
