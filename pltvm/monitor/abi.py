"""Numbers and structures of the Penglai-TVM binary interface, each once.

"§" is a section of docs/penglai-abi.md.

All structures are little endian; `Struct` formats spell out C padding as `x`.
"""

from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

MASK64: Final = 0xFFFF_FFFF_FFFF_FFFF

# -- §1: the address space of an enclave -------------------------------------------------------------------

PAGE: Final = 4096  # bytes
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
    """The kind of enclave to create: §5 servers, §6 shadow templates, and pltvm's own kind."""

    NORMAL = 0
    SERVER = 1
    SHADOW = 2
    CONCURRENT_SERVER = 3  # ours: a server that several chains may call at once, each in its own slot
    CONCURRENT = CONCURRENT_SERVER  # another name of it


# The type as the host passes it: the low byte is the type; for a concurrent server the next byte is the
# number of slots, 0 for DEFAULT_SLOTS.
TYPE_MASK: Final = 0xFF
SLOTS_SHIFT: Final = 8
DEFAULT_SLOTS: Final = 8
MOST_SLOTS: Final = 64


def is_server(kind: int) -> bool:
    """Whether others can call an enclave of this type."""
    return kind in (EnclaveType.SERVER, EnclaveType.CONCURRENT_SERVER)


def slots_of(kind: int) -> int:
    """Return the number of slots in the type of a concurrent server; more than MOST_SLOTS for a bad type."""
    return (kind & 0xFFFF_FFFF) >> SLOTS_SHIFT or DEFAULT_SLOTS


def pages_of_slot(stack: int) -> int:
    """Return the pages of the server's block for each slot after the first, with `stack` pages of stack."""
    return 4 + stack + (1 + -(-stack // 512) if stack else 0)


def type_number(kind: EnclaveType, slots: int = 0) -> int:
    """Return the type as the host passes it to the monitor."""
    return kind | slots << SLOTS_SHIFT


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
    CALL_WAITING = 64  # ours: like CALL, but waits while the server is busy
    SLOT_ID = 63  # ours: the number of the running slot


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

RAM_BASE: Final = 0x8000_0000
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
    RECLAIM = 102  # ours: (address, bytes) take back memory that is idle in the monitor, see monitor/relay.py
    CAN_GO_ON = 103  # ours: (eid) whether a chain that waits for a server could go on: OK, or WAITING
    TURN = 104  # ours: (eid) the chain that waits and could go on which comes after that one; the first: −1


# -- §8: the device of Linux host programs ------------------------------------------------------------------

IOCTL_TYPE: Final = 0xA4


class Ioctl(IntEnum):
    """Number of a request to the enclave device."""

    CREATE = 0
    RUN = 1
    ATTEST = 2
    STOP = 3
    RESUME = 4
    DESTROY = 5
    SHM_GET = 0x10
    SHM_ATTACH = 0x11
    SHM_DETACH = 0x12
    SHM_REMOVE = 0x13
    RELAY_GET = 0x14
    RELAY_ATTACH = 0x15
    RELAY_DETACH = 0x16
    RELAY_REMOVE = 0x17
    PERSISTENCY = 0x18


class UserParam(NamedTuple):
    """`user_param` of most requests; sizes in bytes."""

    eid: int
    name: bytes
    type: int
    elf_ptr: int
    elf_size: int
    stack_size: int
    shmid: int
    is_shadow: int
    shm_offset: int
    shm_size: int
    relay_id: int
    rerun_reason: int
    relay_offset: int
    relay_size: int
    retval: int


USER_PARAM: Final = Struct("<Q16si4xQqqiiQQiiQQQ")
ATTEST_HEAD: Final = Struct("<iiQ")  # eid, is_shadow, nonce; the report follows
SHM_GET: Final = Struct("<i4xQi4x")  # key, size, flags
SHM_ATTACH: Final = Struct("<i4xQQi4x")  # id, address, size, flags
SHM_DETACH: Final = Struct("<i4xQQ")  # id, address, size
SHM_ID: Final = Struct("<i")
FIRST_ENCLAVE_ID: Final = 0x1000  # of the ids by which host programs name enclaves
FIRST_MEMORY_ID: Final = 0x10000  # of shared memory, and of relay pages
RELAY_PAGE: Final = 1  # result of a run request when the enclave returned its relay pages


class Status(IntEnum):
    """Result of a monitor call for the host; positive ones only from run and resume."""

    OK = 0
    ERROR = -1
    NO_MONITOR_MEMORY = -2
    TIMER = 1
    OCALL = 2
    YIELD = 3
    WAITING = 4  # ours: the chain waits for room in a server


class SetPte(IntEnum):
    """First argument of SET_PTE."""

    ONE = 1
    ZERO = 2
    COPY = 3
    BATCH_ZERO = 4
    BATCH_SET = 5


class ResumeReason(IntEnum):
    """Second argument of RESUME."""

    TIMER = 0
    STOP = 1
    OCALL = 2


# Flags of ocall 9; §4 names none, so System V's value.
SHM_EXCLUSIVE: Final = 0o2000  # fail if there is memory of that key

# Results for an enclave, in a0.
FAILED: Final = -1
BUSY: Final = -2
DEADLOCK: Final = -3  # ours, of CALL_WAITING: all enclaves that could make room wait too


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

# §7 "relay size 0 and id > 0", as run, run shadow and resume pass it: with size 0 this relay address asks for
# all regions bound to the enclave's name, and address 0 for none.
RELAY_BOUND: Final = MASK64
RELAY_REGIONS: Final = 10  # most regions of one enclave, and most bound to one name


class RunShadowParams(NamedTuple):
    """§8 `run shadow`: `satp` is not used; the instance is made in `size` bytes at `free_page`."""

    satp: int
    free_page: int
    size: int
    eid_pointer: int
    kbuffer: int
    kbuffer_size: int
    shm_paddr: int
    shm_size: int
    relay_paddr: int
    relay_size: int
    ocall: int
    arg0: int
    arg1: int
    syscall: int
    retval: int
    name: bytes


RUN_SHADOW_PARAMS: Final = Struct("<15Q16s")


class Report(NamedTuple):
    """§8 `report`: hashes have 32 bytes, signatures and public keys 64."""

    monitor_hash: bytes
    monitor_signature: bytes  # by the device key
    monitor_public_key: bytes
    hash: bytes  # of the enclave
    signature: bytes  # by the monitor's key
    nonce: int
    device_public_key: bytes


REPORT: Final = Struct("<32s64s64s32s64sQ64s")


# §8 does not say how the host learns which memory an ended enclave gives back. Here: by a table in the first
# page of the enclave's block, u64 next page or 0, u64 count, then pairs of u64 physical address and bytes.
FREED_ROWS: Final = (PAGE - 16) // 16
FREED_BLOCK: Final = Struct("<4Q")  # such a table with one row: next, count, address, bytes


def clean_name(raw: bytes) -> bytes:
    """Return a name in the form that is compared: up to the NUL, at most 16 bytes (§10)."""
    return raw[:NAME_SIZE].split(b"\0", 1)[0]
