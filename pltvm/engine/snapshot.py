"""RAM and CPU at one moment, and the way back: what it costs is what was touched.

    save        the pages written since the last save or restore, over what the last one holds
    restore     those pages again, and where the two snapshots differ, from the other one

RAM's own log (`Memory.dirty`) says what was written through it. What guest code wrote is in the D bits of
page tables; who knows the tables adds it to the log before either (`PageTable.note_written`).
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

    `executable` says of each page whether it may hold translated code. Registers are not here: contexts lie
    in RAM, or belong to whoever runs.
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
        self._base: dict[int, bytes] = {}  # what RAM was when the log was last emptied

    def save(self) -> EngineSnapshot:
        """RAM and CPU as they are."""
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
        """Put RAM and CPU back; the numbers of the pages that it took. The hart runs `current` next."""
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
        """RAM is this, and the log is empty."""
        self._base = pages
        self._memory.dirty[:] = bytes(len(self._memory.dirty))
        self._hart.translations_changed()  # D bits were cleared


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """The first of numbers that follow each other, and how many they are."""
    start = end = -1
    for number in sorted(numbers):
        if number != end:
            if end > start:
                yield start, end - start
            start = number
        end = number + 1
    if end > start:
        yield start, end - start
