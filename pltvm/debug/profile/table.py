"""The memory with the counts of a profile, in the layout of `native/profile.h`.

All of it is allocated once; pages that are never accessed cost nothing. A test compares this with the header.
"""

import ctypes
import mmap
from typing import Any, Final

_U64: Final = ctypes.c_uint64
_U32: Final = ctypes.c_uint32
_POINTER: Final = ctypes.c_void_p

MOST_BLOCKS: Final = 1 << 19
BLOCK_SLOTS: Final = 1 << 20
MOST_NODES: Final = 1 << 19
NODE_SLOTS: Final = 1 << 20
MOST_FRAMES: Final = 512
MOST_CODE: Final = 1 << 26
KNOWN: Final = 256
SEEN: Final = 1 << 14
PAGES: Final = 256
MOST_EDGES: Final = 4096
CAUSES: Final = 32
CALLS: Final = 160
OCALLS: Final = 128  # the first of them among the calls


class Block(ctypes.Structure):
    """Code that ran as a unit."""

    _fields_ = [
        ("who", _U64), ("pc", _U64), ("where", _U64), ("size", _U32), ("instructions", _U32), ("times", _U64),
        ("code", _U64), ("seen", _U64), ("function", _U32), ("end", _U32), ("length", _U32), ("dead", _U32),
    ]  # fmt: skip
    who: int
    pc: int
    where: int
    size: int
    instructions: int
    times: int
    code: int
    function: int


class Node(ctypes.Structure):
    """A function with its call path."""

    _fields_ = [("parent", _U32), ("function", _U32), ("site", _U64), ("self", _U64), ("calls", _U64)]
    parent: int
    function: int
    site: int
    calls: int


class Frame(ctypes.Structure):
    """A call that has not returned."""

    _fields_ = [("node", _U32), ("filler", _U32), ("back", _U64)]


class Counts(ctypes.Structure):
    """`struct who`: traps and calls of one."""

    _fields_ = [("causes", _U64 * CAUSES), ("calls", _U64 * CALLS)]


class Stack(ctypes.Structure):
    """One thread of guest code."""

    _fields_ = [
        ("registers", _U64), ("who", _U64), ("counts", _POINTER), ("number", _U64), ("end", _U64),
        ("after", _U64), ("depth", _U64), ("node", _U64), ("root", _U64), ("frames", Frame * MOST_FRAMES),
    ]  # fmt: skip
    who: int
    node: int
    root: int
    number: int


class Edge(ctypes.Structure):
    """From one enclave to another."""

    _fields_ = [(name, _U64) for name in ("caller", "callee", "calls", "pages", "back")]
    caller: int
    callee: int
    calls: int
    pages: int
    back: int


class Page(ctypes.Structure):
    """The physical address of a page of code, valid until the next trap."""

    _fields_ = [(name, _U64) for name in ("tag", "root", "epoch", "pa")]


class Seen(ctypes.Structure):
    """A cached lookup of a block."""

    _fields_ = [
        *((name, _U64) for name in ("pc", "stamp", "times")),
        *((name, _U32) for name in ("block", "size", "instructions", "function", "end")),
        ("filler", _U32 * 5),
    ]


class Table(ctypes.Structure):
    """`struct profile`."""

    _fields_ = [
        ("stamp", _U64), ("salt", _U64), ("end", _U64), ("function", _U64), ("own", _U64), ("after", _U64),
        ("refresh", _U64), ("seen", _POINTER), ("running", _POINTER),
        ("hart", _POINTER), ("trap", _POINTER), ("data", _POINTER), ("find", _POINTER), ("added", _POINTER),
        ("blocks", _POINTER), ("block_slots", _POINTER), ("nodes", _POINTER), ("node_slots", _POINTER),
        ("edges", _POINTER), ("pages", _POINTER), ("known", _POINTER), ("code", _POINTER),
        ("block_count", _U64), ("node_count", _U64), ("edge_count", _U64), ("code_used", _U64),
        ("lost", _U64), ("epoch", _U64), ("translated", _U64), ("stack", _POINTER),
    ]  # fmt: skip
    stamp: int
    refresh: int
    block_count: int
    node_count: int
    edge_count: int
    lost: int

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[Any] = []
        self.block_rows = self._room("blocks", Block, MOST_BLOCKS)
        self.node_rows = self._room("nodes", Node, MOST_NODES)
        self.edge_rows = self._room("edges", Edge, MOST_EDGES)
        self._room("block_slots", _U32, BLOCK_SLOTS)
        self._room("node_slots", _U32, NODE_SLOTS)
        self._room("pages", Page, PAGES)
        self._room("seen", Seen, SEEN)
        self._room("known", _POINTER, KNOWN)
        self.code_bytes = memoryview(self._room("code", ctypes.c_uint8, MOST_CODE)).cast("B")
        self.block_count = self.node_count = 1  # the first of each is a placeholder

    def _room(self, name: str, kind: Any, count: int) -> Any:
        """Allocate an array of zeros, and let the field of that name point to it."""
        room = mmap.mmap(-1, ctypes.sizeof(kind) * count)
        array = (kind * count).from_buffer(room)
        self._kept.append(room)
        setattr(self, name, ctypes.addressof(array))
        return array
