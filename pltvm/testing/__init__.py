"""For tests of enclaves: a plugin of pytest, which every installation of pltvm brings along.

plugin     options, and what a failed test shows of its enclaves: reports and output
fixtures   machines, and enclaves that are built from sources beside the test
building   … once: a folder of ELFs that all tests and workers share
cov        --pltvm-cov: which lines of enclaves the tests ran
"""
