"""The native part of the fuzzing loop: what is done for every execution, without Python.

    block hook   counts edges, and blocks down to the end of the budget
    finish       new edges?  clear the map; copy back the pages that the run has written
    advance      mutate the parent input; put the result where the enclave reads it

All of it works on three arrays: guest RAM, the copy of RAM that is the snapshot, and an arena with everything
else at fixed places. So a call from Python has three arguments, and the block hook needs one pointer.

    arena   state words | edge map | edges seen | edges touched | input | parent
            | leaf entries | corpus | tokens
"""

from typing import Any, Final

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from pltvm.engine.memory import PAGE
from pltvm.engine.sv39 import PPN_MASK, A, D
from pltvm.fuzz.mutate import mutate
from pltvm.fuzz.native import native, native_callback

# State words (int64).
(
    BUDGET,  # blocks until the run is stopped
    STOP,  # the C function that stops it
    REGION,  # first edge of the enclave that runs
    PREVIOUS,  # block, for the edge
    TOUCHED,  # number of edges in the map
    PATH,  # hash of edges and how often they were taken, of the last run
    SET,  # hash of the edges alone
    EDGES,  # different edges seen so far
    DIRTY,  # pages that the last run had written
    SLOTS,  # number of leaf entries that are watched
    SIZE,  # of the input
    PARENT,  # size of the parent input
    LIMIT,  # most bytes of an input
    HEADER,  # bytes of an input that have a structure
    CALLS,  # whether an input is a list of messages
    INPUTS,  # number of inputs in the corpus
    WORDS,  # number of tokens in the dictionary
    PLACE,  # where in RAM the input goes, as offset; 0: Python puts it there
    ROOM,  # so many bytes of it
    SKIP,  # bytes of the input that go elsewhere: the argument of a call
    PLACED,  # bytes of the last input that are there
    ARGUMENT,  # first u64 of the input, if SKIP
    EXECUTIONS,
    BLOCKS,  # the budget of an execution
    WORK,  # blocks that executions have run, for the caller to reset
    FULL,  # executions that changed the monitor, likewise
    RNG,  # four words
) = range(27)

EDGES_EACH: Final = 1 << 16  # of an enclave
REGIONS: Final = 8
EDGE_COUNT: Final = EDGES_EACH * REGIONS
FEATURES: Final = EDGE_COUNT  # behind the edges: what is no edge and counts as one
MOST_FEATURES: Final = EDGES_EACH - 256  # the last ones are for numbers of pages, see `deeper`
MAP_SIZE: Final = EDGE_COUNT + EDGES_EACH
MOST_SLOTS: Final = 1 << 14
MOST_INPUT: Final = 1 << 16  # bytes
MOST_CORPUS: Final = 4 << 20
MOST_INPUTS: Final = 1 << 13
MOST_TOKENS: Final = 1 << 16
MOST_WORDS: Final = 1 << 11

_SIZES: Final = {
    "state": 8 * 64,
    "map": MAP_SIZE,
    "seen": MAP_SIZE,
    "touched": 4 * MAP_SIZE,
    "buffer": MOST_INPUT,
    "parent": MOST_INPUT,
    "slots": 8 * MOST_SLOTS,
    "entries": 8 * MOST_SLOTS,
    "corpus": MOST_CORPUS,
    "bounds": 8 * (MOST_INPUTS + 1),
    "tokens": MOST_TOKENS,
    "token_bounds": 8 * (MOST_WORDS + 1),
}
_STARTS: Final = dict(zip(_SIZES, np.cumsum([0, *_SIZES.values()])[:-1].tolist(), strict=True))
_END: Final = sum(_SIZES.values())
(
    _MAP, _SEEN, _TOUCHED, _BUFFER, _PARENT, _SLOT, _ENTRY, _CORPUS, _BOUNDS, _TOKENS, _TOKEN_BOUNDS
) = list(_STARTS.values())[1:]  # fmt: skip
_HOOK_SIZE: Final = _BUFFER  # what the block hook uses of the arena

_TYPES: Final = {
    "state": np.int64, "touched": np.uint32, "slots": np.int64, "entries": np.uint64, "bounds": np.int64,
    "token_bounds": np.int64,
}  # fmt: skip


def _class_of(count: int) -> int:
    """AFL's classes of how often an edge was taken, as one bit."""
    if count < 4:
        return (0, 1, 2, 4)[count]
    return 8 << sum(count >= limit for limit in (8, 16, 32, 128))


_CLASSES: Final = np.array([_class_of(count) for count in range(256)], np.uint8)
_MOST_PAGES: Final = 255


class Arena:
    """The memory that native code works on, and its parts as arrays: `arena.state`, `arena.map`, …"""

    def __init__(self) -> None:
        self.bytes = np.zeros(_END, np.uint8)
        self.words = memoryview(self.bytes.data).cast("B")[: 8 * 64].cast("q")  # the state, quick for Python
        self._counts = memoryview(self.bytes.data)[_MAP : _MAP + MAP_SIZE]
        self._list = memoryview(self.bytes.data)[_TOUCHED:_BUFFER].cast("I")
        for name, size in _SIZES.items():
            start = _STARTS[name]
            part = self.bytes[start : start + size].view(_TYPES.get(name, np.uint8))
            setattr(self, name, part)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    @property
    def address(self) -> int:
        """Where it lies in this process."""
        return int(self.bytes.ctypes.data)

    def input(self) -> bytes:
        """The input of the last execution."""
        return bytes(self.buffer[: self.words[SIZE]])

    def reach(self, feature: int) -> None:
        """Count something that is no edge as one: a number below MOST_FEATURES."""
        edge = FEATURES + feature
        counts = self._counts
        if not counts[edge]:
            self._list[self.words[TOUCHED]] = edge
            self.words[TOUCHED] += 1
        if counts[edge] < 255:
            counts[edge] += 1

    def set_parent(self, data: bytes) -> None:
        """Mutate this one from now on."""
        self.parent[: len(data)] = np.frombuffer(data, np.uint8)
        self.state[PARENT] = len(data)

    def set_corpus(self, inputs: list[bytes]) -> None:
        """What mutations splice with: the last ones, as many as there is room for."""
        _pack(inputs, self.corpus, self.bounds, self.state, INPUTS)

    def set_tokens(self, tokens: list[bytes]) -> None:
        """The dictionary."""
        _pack(tokens, self.tokens, self.token_bounds, self.state, WORDS)


def _pack(items: list[bytes], area: Any, bounds: Any, state: Any, count: int) -> None:
    kept: list[bytes] = []
    room = len(area)
    for item in reversed(items[-(len(bounds) - 1) :]):
        room -= len(item)
        if room < 0:
            break
        kept.append(item)
    kept.reverse()
    data = b"".join(kept)
    area[: len(data)] = np.frombuffer(data, np.uint8)
    bounds[0] = 0
    bounds[1 : len(kept) + 1] = np.cumsum([len(item) for item in kept])
    state[count] = len(kept)


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def _stop(_context: Any, function: Any, engine: Any) -> Any:
    """Call the C function at an address with one pointer."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.IntType(32), [pointer])
        target = builder.inttoptr(arguments[0], kind.as_pointer())
        return builder.call(target, [builder.inttoptr(arguments[1], pointer)])

    return types.int32(function, engine), generate


@native_callback("void(int64, uint64, uint32, voidptr)")
def on_block(engine, pc, _size, data):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The block hook; its address is `on_block.address`."""
    state = numba.carray(data, _HOOK_SIZE >> 3, np.int64)  # three views of one memory: a slice of one would
    arena = numba.carray(data, _HOOK_SIZE, np.uint8)  # cost ten times what all the rest does
    left = state[BUDGET] - 1
    state[BUDGET] = left
    if left < 0:
        _stop(state[STOP], engine)
        return
    here = np.int64(((pc >> np.uint64(1)) * np.uint64(0x9E3779B1) >> np.uint64(12)) & np.uint64(0xFFFF))
    edge = state[REGION] + (here ^ state[PREVIOUS])
    state[PREVIOUS] = here >> 1
    count = arena[_MAP + edge]
    if count == 0:
        touched = numba.carray(data, _HOOK_SIZE >> 2, np.uint32)
        number = state[TOUCHED]
        touched[(_TOUCHED >> 2) + number] = edge
        state[TOUCHED] = number + 1
    if count != 255:
        arena[_MAP + edge] = count + np.uint8(1)


@native
def classify(arena: Any, keep: bool) -> int:
    """What the last run reached: 2 new edges, 1 a new feature or edges more or less often, 0 nothing new.

    The map is cleared. Unless `keep`, what is new stays new.
    """
    state = arena[:512].view(np.int64)
    touched = arena[_TOUCHED:_BUFFER].view(np.uint32)
    new, path, edges = 0, np.uint64(0), np.uint64(0)
    for index in range(state[TOUCHED]):
        edge = np.int64(touched[index])
        kind = _CLASSES[arena[_MAP + edge]]
        arena[_MAP + edge] = 0
        path += (np.uint64(edge) * np.uint64(256) + np.uint64(kind)) * np.uint64(0x9E3779B97F4A7C15)
        if edge < FEATURES:
            edges += np.uint64(edge + 1) * np.uint64(0x9E3779B97F4A7C15)
        seen = arena[_SEEN + edge]
        if kind & ~seen:
            new = max(new, 1 if seen or edge >= FEATURES else 2)
            if keep:
                state[EDGES] += 0 if seen else 1
                arena[_SEEN + edge] = seen | kind
    state[TOUCHED] = 0
    state[PREVIOUS] = 0
    state[PATH] = np.int64(path >> np.uint64(1))
    state[SET] = np.int64(edges >> np.uint64(1))
    return new


@native
def restore(arena: Any, ram: Any, copy: Any, base: int) -> int:
    """Copy back the pages that were written since the snapshot, as their leaf entries tell; how many."""
    state = arena[:512].view(np.int64)
    slots = arena[_SLOT:_ENTRY].view(np.int64)
    entries = arena[_ENTRY:_CORPUS].view(np.uint64)
    words, old = ram.view(np.uint64), copy.view(np.uint64)
    dirty = 0
    for index in range(state[SLOTS]):
        now = words[slots[index]]
        before = entries[index]
        if (now ^ before) & ~np.uint64(A):
            words[slots[index]] = before
            if now & np.uint64(D):
                page = np.int64((before & np.uint64(PPN_MASK)) << np.uint64(2)) - base
                at = page >> 3
                words[at : at + PAGE // 8] = old[at : at + PAGE // 8]
                dirty += 1
    state[DIRTY] = dirty
    return dirty


@native
def deeper(arena: Any, keep: bool) -> int:
    """1 if a run has written as many pages as none before, 0 if not: so that deep recursion is found.

    The numbers of pages are in the map of edges seen, at its end. To be called after `restore`.
    """
    state = arena[:512].view(np.int64)
    pages = min(state[DIRTY], _MOST_PAGES)
    state[PATH] ^= pages << 40
    at = _SEEN + MAP_SIZE - 1 - pages
    if arena[at]:
        return 0
    if keep:
        arena[at] = 1
    return 1


@native
def place(arena: Any, ram: Any, copy: Any) -> None:
    """Put the input into the memory where the enclave reads it, if it is one piece."""
    state = arena[:512].view(np.int64)
    size, skip, at = state[SIZE], state[SKIP], state[PLACE]
    if skip:
        argument = np.uint64(0)
        for index in range(min(size, skip) - 1, -1, -1):
            argument = argument << np.uint64(8) | np.uint64(arena[_BUFFER + index])
        state[ARGUMENT] = np.int64(argument)
    if at:
        count = max(min(size - skip, state[ROOM]), 0)
        for index in range(count):
            ram[at + index] = arena[_BUFFER + skip + index]
        for index in range(count, state[PLACED]):
            ram[at + index] = copy[at + index]
        state[PLACED] = count


@native
def _mutate_parent(arena: Any) -> None:
    state = arena[:512].view(np.int64)
    size = state[PARENT]
    buffer = arena[_BUFFER:_PARENT]
    buffer[:size] = arena[_PARENT : _PARENT + size]
    state[SIZE] = mutate(
        state[RNG : RNG + 4].view(np.uint64), buffer, size, state[LIMIT], state[HEADER],
        arena[_CORPUS:_BOUNDS], arena[_BOUNDS:_TOKENS].view(np.int64)[: state[INPUTS] + 1],
        arena[_TOKENS:_TOKEN_BOUNDS], arena[_TOKEN_BOUNDS:_END].view(np.int64)[: state[WORDS] + 1],
        state[CALLS] != 0,
    )  # fmt: skip


@native
def advance(arena: Any, ram: Any, copy: Any) -> None:
    """The next input: a mutation of the parent, put in place."""
    _mutate_parent(arena)
    place(arena, ram, copy)


@native
def turn(arena: Any, ram: Any, copy: Any, base: int) -> int:
    """After a run that ended as most do: `classify`, `restore`, and `advance` unless there is something new.

    0 when the next execution can start, else what is new.
    """
    state = arena[:512].view(np.int64)
    state[EXECUTIONS] += 1
    state[WORK] += state[BLOCKS] - state[BUDGET]
    new = classify(arena, True)
    restore(arena, ram, copy, base)
    new = max(new, deeper(arena, True))
    if new == 0:
        advance(arena, ram, copy)
        state[BUDGET] = state[BLOCKS]
        state[REGION] = 0
    return new


def load() -> None:
    """Have all that Python calls here compiled, or read from where it is kept, before there is a wall.

    Behind one (see `pltvm.confine`) nothing can be kept. It does one of each on nothing: no input, no memory.
    """
    arena, ram, copy = Arena().bytes, np.zeros(PAGE, np.uint8), np.zeros(PAGE, np.uint8)
    advance(arena, ram, copy)
    place(arena, ram, copy)
    turn(arena, ram, copy, 0)
    restore(arena, ram, copy, 0)
    classify(arena, True)
    deeper(arena, True)
