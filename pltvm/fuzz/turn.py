"""The steps of the fuzzing loop, on an arena: for every block of code, and for every execution.

    block       counts edges, and blocks down to the end of the budget
    turn        new edges?  clear the map; copy back the pages written by the run;
                mutate the parent input; put the result where the enclave reads it

This is the reference for `native/turn.c`, used without the native core; `loop` chooses.
"""

from collections.abc import Callable
from typing import Final

from pltvm.engine.memory import PAGE
from pltvm.engine.sv39 import A, D, pte_address
from pltvm.fuzz.arena import FEATURES, MAP_SIZE, MOST_FEATURES, MOST_PAGES, Arena
from pltvm.fuzz.havoc import Stock
from pltvm.fuzz.mutate import mutate
from pltvm.monitor.abi import MASK64

_GOLDEN: Final = 0x9E3779B97F4A7C15


def block(arena: Arena, pause: Callable[[], None], pc: int, _size: int) -> None:
    """Count a block of code that is about to run; at the end of the budget `pause` stops it."""
    state = arena.state
    state.budget -= 1
    if state.budget < 0:
        pause()
        return
    here = (pc >> 1) * 0x9E3779B1 >> 12 & 0xFFFF
    edge = state.region + (here ^ state.previous)
    state.previous = here >> 1
    arena.count(edge)


def block_looked_at(arena: Arena, pause: Callable[[], None], pc: int, size: int) -> None:
    """Do the same under a debugger: the rest of a block after a stop is not counted. See `looked`."""
    state = arena.state
    again, state.begun, state.begun_size, state.again = state.again, pc, size, 0
    if pc != again:
        block(arena, pause, pc, size)


def _class_of(count: int) -> int:
    """Return AFL's class of an edge's count, as one bit."""
    if count < 4:
        return (0, 1, 2, 4)[count]
    return 8 << sum(count >= limit for limit in (8, 16, 32, 128))


_CLASSES: Final = bytes(map(_class_of, range(256)))


def classify(arena: Arena, keep: bool) -> int:
    """Classify the last run: 2 for new edges, 1 for a new feature or new counts of edges, 0 for nothing new.

    Clears the map. Unless `keep`, new coverage stays new.
    """
    state = arena.state
    new = path = edges = 0
    for edge in arena.touched[: state.taken]:
        kind, seen = _CLASSES[arena.map[edge]], arena.seen[edge]
        arena.map[edge] = 0
        path += (edge * 256 + kind) * _GOLDEN
        if edge < FEATURES:
            edges += (edge + 1) * _GOLDEN
        if kind & ~seen:
            new = max(new, 1 if seen or edge >= FEATURES else 2)
            if keep:
                state.edges += not seen
                arena.seen[edge] = seen | kind
    state.taken = state.previous = 0
    state.path = (path & MASK64) >> 1
    state.set = (edges & MASK64) >> 1
    return new


def mix(one: int, two: int) -> int:
    """Return a 63-bit hash of two hashes."""
    value = one * _GOLDEN + two + 1 & MASK64
    return (value ^ value >> 32) >> 1


def part(arena: Arena, client: int, keep: bool) -> None:
    """End one call of an execution: `classify` its own coverage.

    The pair of this call's kind and the kind of the call before counts as a feature. The kind depends on the
    client and on the edges of the call. So an input that brings a server into another state is kept, even if
    it runs no new code.
    """
    state = arena.state
    state.part_new = max(state.part_new, classify(arena, keep))
    state.part_path = mix(state.part_path, state.path)
    kind = mix(client, state.set)
    arena.reach(mix(state.kind, kind) % MOST_FEATURES)
    state.kind = kind


def restore(arena: Arena) -> None:
    """Copy back the pages written since the snapshot, by their leaf entries."""
    state, words = arena.state, arena.ram_words
    dirty = 0
    watched = state.watched
    for slot, before in zip(arena.slots[:watched], arena.entries[:watched], strict=True):
        now = words[slot]
        if (now ^ before) & ~A:
            words[slot] = before
            if now & D:
                page = pte_address(before) - state.base
                arena.ram[page : page + PAGE] = arena.copy[page : page + PAGE]
                dirty += 1
    state.dirty = dirty


def deeper(arena: Arena, keep: bool) -> int:
    """Return 1 if a run has written more pages than any before, else 0: this finds deep recursion.

    The numbers of pages are at the end of the map of seen edges. To be called after `restore`.
    """
    state = arena.state
    pages = min(state.dirty, MOST_PAGES)
    state.path ^= pages << 40
    at = MAP_SIZE - 1 - pages
    if arena.seen[at]:
        return 0
    if keep:
        arena.seen[at] = 1
    return 1


def place(arena: Arena) -> None:
    """Put the input into the memory where the enclave reads it, if it has a single part."""
    state = arena.state
    size, skip, at = state.size, state.skip, state.place
    if skip:
        state.argument = int.from_bytes(arena.buffer[: min(size, skip)], "little")
    if at:
        count = max(min(size - skip, state.room), 0)
        arena.ram[at : at + count] = arena.buffer[skip : skip + count]
        if count < state.placed:
            arena.ram[at + count : at + state.placed] = arena.copy[at + count : at + state.placed]
        state.placed = count


def stock_of(arena: Arena) -> Stock:
    """Return the stock of bytes for mutations."""
    state = arena.state
    corpus = arena.corpus, arena.bounds[: state.inputs + 1]
    tokens = arena.tokens, arena.token_bounds[: state.words + 1]
    return *corpus, *tokens


def advance(arena: Arena) -> None:
    """Make the next input, a mutation of the parent, and put it in place."""
    state, size = arena.state, arena.state.parent_size
    arena.buffer[:size] = arena.parent[:size]
    messages = bool(state.calls)
    state.size = mutate(arena.rng, arena.buffer, size, state.limit, state.header, stock_of(arena), messages)
    place(arena)


def turn(arena: Arena) -> int:
    """Finish an ordinary run: `classify`, `restore`, and `advance` unless there is new coverage.

    Returns 0 when the next execution can start, else the class of the new coverage.
    """
    state = arena.state
    state.executions += 1
    state.work += state.blocks - state.budget
    new = classify(arena, True)
    restore(arena)
    new = max(new, deeper(arena, True))
    if new == 0:
        advance(arena)
        state.budget = state.blocks
        state.region = 0
    return new
