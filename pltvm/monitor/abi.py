"""Numbers and structures of the Penglai-TVM binary interface, each once.

"§" is a section of docs/interface.md.

All structures are little endian; `Struct` formats spell out C padding as `x`.
"""

from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

MASK64: Final = 0xFFFF_FFFF_FFFF_FFFF

# -- §1: the address space of an enclave -------------------------------------------------------------------

HEAP_BASE: Final = 0x10_0000_0000
MMAP_TOP: Final = 0x30_0000_0000
STACK_TOP: Final = 0x38_0000_0000
RELAY_BASE: Final = 0x38_0000_0000
SHM_BASE: Final = 0x39_0000_0000
SECURE_SHM_TOP: Final = 0x40_0000_0000
KBUFFER: Final = 0xFFFF_FFE0_0000_0000

DEFAULT_STACK: Final = 64 << 10
MAX_STACK: Final = 64 << 20
MAX_ELF: Final = 512 << 20
SPARE_PAGES: Final = 256  # added to ELF and stack pages before rounding up to a power of two
RESERVED_PAGES: Final = 3  # of a block: the monitor's page, the root table, one spare
NAME_SIZE: Final = 16
WRITE_LIMIT: Final = 511  # bytes printed by one write ocall


class EnclaveType(IntEnum):
    """What kind of enclave to create: §5 servers, §6 shadow templates."""

    NORMAL = 0
    SERVER = 1
    SHADOW = 2


# -- §3: calls of an enclave, a6 = ENCLAVE_CALL ------------------------------------------------------------

ENCLAVE_CALL: Final = 0x100101
LINUX_IOCTL: Final = 29  # the C library probes its stdout with it


class Call(IntEnum):
    """a7 of an enclave call."""

    EXIT = 99
    OCALL = 98
    ACQUIRE = 97
    CALL = 96
    RETURN = 95
    REPORT = 94
    ASYNC_CALL = 93
    SPLIT = 92
    CALLER_ID = 91
    ENCLAVE_ID = 90
    YIELD = 89
    DERIVE_KEY = 88
    SHM_ATTACH = 84
    SHM_STAT = 83


class CallStruct(NamedTuple):
    """§3: what a caller passes to a server and gets back; addresses and sizes in bytes."""

    req_arg: int
    resp_val: int
    req_vaddr: int
    req_size: int
    resp_vaddr: int
    resp_size: int


CALL_STRUCT: Final = Struct("<6Q")


# -- §4: ocalls --------------------------------------------------------------------------------------------


class Ocall(IntEnum):
    """a0 of enclave call 98."""

    MMAP = 1
    MUNMAP = 2
    WRITE = 3
    SBRK = 4
    READ_SECTOR = 5
    WRITE_SECTOR = 6
    RETURN_RELAY = 7
    GET_RANDOM = 8
    SHM_GET = 9
    SHM_DETACH = 10
    SHM_DESTROY = 11


# -- §8: calls of the host, a7 = HOST_CALL, a6 = function --------------------------------------------------

HOST_CALL: Final = 0x100100


class HostCall(IntEnum):
    """a6 of a monitor call from the host kernel."""

    SET_PTE = 101
    INIT = 100
    CREATE = 99
    ATTEST = 98
    RUN = 97
    STOP = 96
    RESUME = 95
    DESTROY = 94
    EXTEND = 92
    CREATE_SERVER = 90
    DESTROY_SERVER = 89
    RUN_SHADOW = 87
    CREATE_SHADOW = 86
    RELAY_INIT = 85
    SEPARATE = 83
    SPLIT_HUGE = 81
    ATTEST_SHADOW = 80
    DESTROY_SHADOW = 79


class Status(IntEnum):
    """What a monitor call gives the host; the positive ones only from run and resume."""

    OK = 0
    ERROR = -1
    NO_MONITOR_MEMORY = -2
    TIMER = 1
    OCALL = 2
    YIELD = 3


class ResumeReason(IntEnum):
    """Second argument of RESUME."""

    TIMER = 0
    STOP = 1
    OCALL = 2


# What an enclave gets in a0.
FAILED: Final = -1
BUSY: Final = -2


class Mailbox(NamedTuple):
    """§8: physical addresses of the u64 in which the host finds an ocall; they move along a call chain."""

    ocall: int
    arg0: int
    arg1: int
    syscall: int


class CreateParams(NamedTuple):
    """§8 `create`: addresses are physical, sizes in bytes."""

    eid_pointer: int
    name: bytes
    type: int
    paddr: int
    size: int
    entry: int
    free_mem: int
    kbuffer: int
    kbuffer_size: int
    shm_paddr: int
    shm_size: int
    ocall: int
    arg0: int
    arg1: int
    syscall: int
    retval: int


CREATE_PARAMS: Final = Struct("<Q16si4x8Q5Q")


class RunParams(NamedTuple):
    """§8 `run`: relay pages to hand over, or zeros."""

    relay_paddr: int
    relay_size: int


RUN_PARAMS: Final = Struct("<2Q")


# §8 leaves open how the host learns what an ended enclave gives back. Here: by a table in the first page of
# the enclave's block, u64 next page or 0, u64 count, then pairs of u64 physical address and bytes.
FREED_ROWS: Final = (4096 - 16) // 16


def clean_name(raw: bytes) -> bytes:
    """A name as it is compared: up to the NUL, at most 16 bytes (§10)."""
    return raw[:NAME_SIZE].split(b"\0", 1)[0]
