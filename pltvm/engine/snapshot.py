"""Saves RAM and CPU at one moment, and restores them; the cost depends on the pages touched.

    save        copies the pages written since the last save or restore, over the last snapshot
    restore     copies those pages back, and the pages in which the two snapshots differ

RAM's own log (`Memory.dirty`) has the pages written through it. Pages written by guest code are in the D bits
of page tables; code that knows the tables adds them to the log first (`PageTable.note_written`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from pltvm.engine.hart import Hart
from pltvm.engine.memory import PAGE, PAGE_SHIFT

_ZEROS: Final = bytes(PAGE)


@dataclass(frozen=True, slots=True)
class EngineSnapshot:
    """RAM and CPU: `pages` are those that are not all zero, by page number.

    `executable` says for each page whether it may have translated code. Registers are not here: contexts are
    in RAM, or belong to other parts.
    """

    size: int  # of RAM, in bytes
    pages: dict[int, bytes] = field(repr=False)
    executable: bytes = field(repr=False)
    clock: int
    time_slice: int


class Snapshots:
    """Takes snapshots of the machine of `hart`, and goes back to them."""

    def __init__(self, hart: Hart) -> None:
        self._hart = hart
        self._memory = hart.memory
        self._base: dict[int, bytes] = {}  # RAM when the log was last emptied

    def save(self) -> EngineSnapshot:
        """Return RAM and CPU as they are."""
        memory, hart = self._memory, self._hart
        pages = dict(self._base)
        for number in memory.written():
            content = bytes(memory.bytes[number << PAGE_SHIFT : (number + 1) << PAGE_SHIFT])
            if content == _ZEROS:
                pages.pop(number, None)
            elif pages.get(number) != content:
                pages[number] = content
        self._start_from(pages)
        return EngineSnapshot(memory.size, pages, memory.executable_pages(), hart.clock, hart.time_slice)

    def restore(self, snapshot: EngineSnapshot) -> set[int]:
        """Restore RAM and CPU; return the numbers of the restored pages. The hart runs `current` next."""
        memory, hart, wanted = self._memory, self._hart, snapshot.pages
        changed = set(memory.written())
        if wanted is not self._base:
            base = self._base
            both = base.keys() | wanted.keys()
            changed.update(number for number in both if base.get(number) is not wanted.get(number))
        was = memory.executable_pages()
        zeros = []
        for number in changed:
            content = wanted.get(number)
            if content is None:
                zeros.append(number)
            else:
                memory.bytes[number << PAGE_SHIFT : (number + 1) << PAGE_SHIFT] = content
        for start, pages in _runs(zeros):
            memory.zero(memory.base + (start << PAGE_SHIFT), pages << PAGE_SHIFT)
        memory.restore_executable(snapshot.executable)
        for number in sorted(changed):
            if was[number] or snapshot.executable[number]:
                hart.forget_code(memory.base + (number << PAGE_SHIFT), PAGE)
        self._start_from(wanted)
        hart.clock = snapshot.clock
        hart.set_time_slice(snapshot.time_slice)
        hart.context_changed()
        return changed

    def _start_from(self, pages: dict[int, bytes]) -> None:
        """Take these pages as RAM's base, with an empty log."""
        self._base = pages
        self._memory.dirty[:] = bytes(len(self._memory.dirty))
        self._hart.translations_changed()  # D bits were cleared


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Yield runs of consecutive numbers: the first one, and the count."""
    start = end = -1
    for number in sorted(numbers):
        if number != end:
            if end > start:
                yield start, end - start
            start = number
        end = number + 1
    if end > start:
        yield start, end - start
