"""Everything untrusted: the kernel's memory, the enclave driver, and the API for Python programs.

The host reaches the monitor only through monitor calls: it fills a structure in guest memory and passes its
physical address, as the real driver does.
"""
