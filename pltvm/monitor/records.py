"""The monitor's records in guest RAM: typed views of the structures in `records.h`.

A view is a ctypes structure that lies on RAM: reading a field reads guest memory (23 ns; indexing a
memoryview takes 28, a pointer of cffi 65, and dissect.cstruct copies a whole record in 11 µs). It has no
state of its own, so the monitor's state is in RAM only. cffi's parser reads the header, usually when the
package is built (`pltvm.build.layout`); the annotations here give the same names to mypy, and a test compares
them.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path
from struct import Struct
from typing import Any, Final, TypeVar

from pltvm.build.headers import declared
from pltvm.engine.memory import PAGE_SHIFT, Block
from pltvm.errors import EngineError

HEADER: Final = Path(__file__).with_name("records.h")
_TYPES: Final[dict[str, Any]] = {
    "uint64_t": ctypes.c_uint64,
    "int64_t": ctypes.c_int64,
    "uint32_t": ctypes.c_uint32,
}


@cache
def header() -> Any:
    """Return the declarations of `records.h` as an FFI of cffi, from the package's build if that is
    current."""
    return declared("pltvm.monitor._records", HEADER)


NUMBERS: Final[dict[str, int]] = dict(header().typeof("enum layout").relements)


class Record(ctypes.LittleEndianStructure):
    """One record; `at` is its physical address."""

    __slots__ = ("at",)
    at: int


RecordType = TypeVar("RecordType", bound=Record)


def laid_out_as(struct: str) -> Callable[[type[RecordType]], type[RecordType]]:
    """Return a decorator that gives a class the fields of this struct of `records.h`."""

    def lay_out(kind: type[RecordType]) -> type[RecordType]:
        kind._fields_ = _fields(struct)
        return kind

    return lay_out


def _fields(struct: str) -> list[tuple[str, Any]]:
    fields, end = [], 0
    for name, field in header().typeof(f"struct {struct}").fields:
        kind = field.type
        if kind.kind == "array":
            size = kind.length * header().sizeof(kind.item)
            made = ctypes.c_char * size if kind.item.cname == "uint8_t" else ctypes.c_uint64 * kind.length
        else:
            made = _TYPES[kind.cname]
        if field.offset != end:
            raise EngineError(f"records.h: struct {struct} has a gap before {name}")
        end = field.offset + ctypes.sizeof(made)
        fields.append((name, made))
    return fields


class Neighbours:
    """Neighbouring u64 fields of a record, for code that needs many of them: faster at once than one by one.

    `at` is the offset of the first, in bytes; `layout` packs and unpacks their values, in order.
    """

    def __init__(self, kind: type[Record], *names: str) -> None:
        fields = [getattr(kind, name) for name in names]
        self.at: int = fields[0].offset
        self.layout = Struct(f"<{len(fields)}Q")
        expected = [(self.at + 8 * index, 8) for index in range(len(fields))]
        if [(field.offset, field.size) for field in fields] != expected:
            raise EngineError(f"records.h: {kind.__name__} has no u64 {', '.join(names)} side by side")


@laid_out_as("globals")
class Globals(Record):
    """The global state, of which there is one record."""

    __slots__ = ()
    running: int
    host_status: int
    started: int
    first_enclave: int
    last_enclave: int
    enclaves: int
    first_segment: int
    next_eid: int
    next_segment: int
    asids: int
    free_asids: int
    record_space: int
    free_records: int
    fresh: int
    filling: int
    lent: int
    free_regions: int
    fresh_regions: int
    free_attachments: int
    fresh_attachments: int
    roots_end: int
    middle_end: int
    first_waiting: int
    last_waiting: int
    first_awaited: int


@laid_out_as("lent")
class Lent(Record):
    """A block of memory that the host gave the monitor."""

    __slots__ = ()
    pa: int
    pages: int


@laid_out_as("enclave")
class EnclaveRecord(Record):
    """One enclave; `enclave.Enclave` adds values derived from it."""

    __slots__ = ()
    next: int
    prev: int
    next_of_eid: int
    next_of_name: int
    name: bytes
    eid: int
    kind: int
    state: int
    stopped: int
    asid: int
    instances: int
    template_of: int
    entry: int
    block: int
    block_pages: int
    root: int
    free: int
    free_end: int
    kbuffer: int
    kbuffer_entry: int
    kbuffer_slot: int
    shm_pa: int
    shm_size: int
    heap_top: int
    mmaps: int
    heap: int
    relays: int
    orphans: int
    attached: int
    ocall: int
    arg0: int
    arg1: int
    syscall: int
    retval: int
    waiting_for: int
    asked_where: int
    asked_size: int
    caller: int
    struct_pa: int
    struct_rest: int
    request: int
    request_va: int
    request_size: int
    top: int
    innermost: int
    server: int
    slot: int
    slots: int
    calls: int
    busy: int
    queued: int
    next_waiting: int
    first_waiting: int
    last_waiting: int
    next_awaited: int

    @property
    def whole(self) -> Block:
        """Its block."""
        return Block(self.block, self.block_pages)


@laid_out_as("region")
class Region(Record):
    """Pages that move as a unit: the last `size` bytes of the block at `block`, mapped at `va`."""

    __slots__ = ()
    next: int
    prev: int
    va: int
    size: int
    block: int
    block_pages: int
    origin_eid: int
    origin_va: int
    name: bytes
    holder: int
    call: int
    filler: bytes

    @property
    def whole(self) -> Block:
        """Its block."""
        return Block(self.block, self.block_pages)

    @property
    def pages(self) -> int:
        """The number of mapped pages."""
        return self.size >> PAGE_SHIFT

    @property
    def end(self) -> int:
        """The first address after it."""
        return self.va + self.size

    @property
    def pa(self) -> int:
        """The physical address of the mapped pages."""
        return self.block + (self.block_pages << PAGE_SHIFT) - self.size

    @property
    def has_page(self) -> bool:
        """Whether its record is in the first page of its block, which is not mapped."""
        return self.at == self.block


@laid_out_as("segment")
class Segment(Record):
    """Memory shared between enclaves."""

    __slots__ = ()
    next: int
    prev: int
    next_of_key: int
    key: int
    block: int
    block_pages: int
    pages: int
    owner: int
    creator: int
    users: int
    has_key: int

    @property
    def whole(self) -> Block:
        """Its block."""
        return Block(self.block, self.block_pages)


@laid_out_as("attachment")
class Attachment(Record):
    """The mapping of a segment in an enclave, at `va`."""

    __slots__ = ()
    next: int
    segment: int
    va: int
    filler: int
