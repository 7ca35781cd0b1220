"""The memory that the fuzzing loop works on, in the layout of `arena.h`, for C and Python.

The numbers are a ctypes structure that lies on it, the other parts are memoryviews. cffi's parser reads the
header; the annotations here give the same names to mypy, and a test compares them.
"""

import ctypes
import mmap
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, Literal

from cffi import FFI

HEADER: Final = Path(__file__).with_name("arena.h")
_FORMATS: Final[dict[str, Literal["B", "I", "q", "Q"]]] = {
    "uint8_t": "B",
    "uint32_t": "I",
    "int64_t": "q",
    "uint64_t": "Q",
}
_TYPES: Final[dict[str, Any]] = {"int64_t": ctypes.c_int64, "uint64_t": ctypes.c_uint64}


def _declared() -> FFI:
    declared = FFI()
    lines = HEADER.read_text("utf-8").splitlines()
    declared.cdef("\n".join(line for line in lines if not line.startswith("#")))
    return declared


_HEADER: Final = _declared()
_SIZES: Final[dict[str, int]] = dict(_HEADER.typeof("enum arena_sizes").relements)
EDGES_EACH: Final = _SIZES["EDGES_EACH"]
FEATURES: Final = _SIZES["FEATURES"]
REGIONS: Final = _SIZES["REGIONS"]
MAP_SIZE: Final = _SIZES["MAP_SIZE"]
MOST_FEATURES: Final = _SIZES["MOST_FEATURES"]
MOST_PAGES: Final = _SIZES["MOST_PAGES"]
MOST_SLOTS: Final = _SIZES["MOST_SLOTS"]


class State(ctypes.Structure):
    """The numbers; the header has their meaning."""

    _fields_ = [(name, _TYPES[field.type.cname]) for name, field in _HEADER.typeof("struct state").fields]

    budget: int
    stop: int
    region: int
    previous: int
    taken: int
    sent: int
    next: int
    kind: int
    part_new: int
    part_path: int
    begun: int
    begun_size: int
    again: int
    path: int
    set: int
    dirty: int
    ram: int
    copy: int
    base: int
    watched: int
    size: int
    parent_size: int
    limit: int
    header: int
    calls: int
    place: int
    room: int
    skip: int
    placed: int
    argument: int
    inputs: int
    words: int
    edges: int
    executions: int
    blocks: int
    work: int
    full: int


class Arena:
    """The numbers, and the other parts by name; later also guest RAM and its copy."""

    state: State
    rng: memoryview
    map: memoryview
    seen: memoryview
    touched: memoryview
    buffer: memoryview
    parent: memoryview
    slots: memoryview
    entries: memoryview
    corpus: memoryview
    bounds: memoryview
    tokens: memoryview
    token_bounds: memoryview

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, _HEADER.sizeof("struct arena"))
        self.state = State.from_buffer(self.memory)
        whole = memoryview(self.memory)
        _, *parts = _HEADER.typeof("struct arena").fields
        for name, field in parts:
            end = field.offset + _HEADER.sizeof(field.type)
            setattr(self, name, whole[field.offset : end].cast(_FORMATS[field.type.item.cname]))
        self.address = ctypes.addressof(self.state)
        self._as_parameter_ = ctypes.c_void_p(self.address)  # passed to C functions
        self.ram = self.copy = memoryview(b"")
        self.ram_words = self.ram.cast("Q")

    def use(self, base: int, ram: memoryview, copy: memoryview) -> None:
        """Set guest RAM, which starts at physical address `base`, and the copy to restore. Their addresses
        are fixed."""
        self.ram, self.copy, self.ram_words = ram, copy, ram.cast("Q")
        self.state.base = base
        self.state.ram, self.state.copy = _address_of(ram), _address_of(copy)

    def seed(self, words: Iterable[int]) -> None:
        """Set the state of the random number generator, from `havoc.seed_state`."""
        for index, word in enumerate(words):
            self.rng[index] = word

    def input(self) -> bytes:
        """Return the input of the last execution."""
        return bytes(self.buffer[: self.state.size])

    def set_input(self, data: bytes) -> None:
        """Set the next input; `place` still has to put it where it is read."""
        self.buffer[: len(data)] = data
        self.state.size = len(data)

    def set_parent(self, data: bytes) -> None:
        """Set the input to mutate from now on."""
        self.parent[: len(data)] = data
        self.state.parent_size = len(data)

    def set_corpus(self, inputs: list[bytes]) -> None:
        """Set the inputs for splicing: the last ones, as many as there is room for."""
        self.state.inputs = _pack(inputs, self.corpus, self.bounds)

    def set_tokens(self, tokens: list[bytes]) -> None:
        """Set the dictionary."""
        self.state.words = _pack(tokens, self.tokens, self.token_bounds)

    def reach(self, feature: int) -> None:
        """Count a feature like an edge: a number below MOST_FEATURES."""
        self.count(FEATURES + feature)

    def count(self, edge: int) -> None:
        """Count an edge once more."""
        count = self.map[edge]
        if count == 0:
            self.touched[self.state.taken] = edge
            self.state.taken += 1
        if count != 255:
            self.map[edge] = count + 1


def _address_of(memory: memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def _pack(items: list[bytes], area: memoryview, bounds: memoryview) -> int:
    """Store the last items end to end, with their offsets; return how many there was room for."""
    kept: list[bytes] = []
    room = len(area)
    for item in reversed(items[-(len(bounds) - 1) :]):
        room -= len(item)
        if room < 0:
            break
        kept.append(item)
    kept.reverse()
    data = b"".join(kept)
    area[: len(data)] = data
    for index, end in enumerate(accumulate(map(len, kept), initial=0)):
        bounds[index] = end
    return len(kept)
