"""The pytest plugin for tests of enclaves; it is part of every installation of pltvm.

plugin     options, and reports and output of enclaves in failed tests
fixtures   machines, and enclaves that are built from sources beside the test
building   builds them once: a folder of ELFs shared by all tests and workers
cov        --pltvm-cov: the lines of enclaves that the tests ran
"""
