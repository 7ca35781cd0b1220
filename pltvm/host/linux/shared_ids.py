"""Memory that Linux programs name by an id: shared with enclaves, or handed over to them (§8, 0x10 … 0x17).

`get` makes pages, or finds those of a key; `attach` and `detach` count; after `remove` the id is invalid, and
the pages are freed when they are neither attached nor mapped, and no enclave has them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from errno import EPERM
from itertools import count
from typing import Final

from pltvm.engine.memory import PAGE
from pltvm.errors import EnclaveError, OutOfMemory
from pltvm.host.kept import Kept, Kind
from pltvm.host.linux.requests import Refused
from pltvm.host.plain import Part
from pltvm.host.spans import Span
from pltvm.monitor.abi import FIRST_MEMORY_ID

PRIVATE_KEY: Final = 0
MOST_IDS: Final = 4096  # of one kind; as many as Linux allows for System V


@dataclass(slots=True)
class Entry:
    """Pages at `pa`: the number of attachments, and whether they are freed with their last user.

    The program names them by `id`, which may be reused later; `serial` is unique.
    """

    id: int
    key: int
    pa: int
    size: int
    serial: int
    attached: int = 0
    removed: bool = False

    @property
    def span(self) -> Span:
        """The address range of the pages."""
        return Span(self.pa, self.size)


@dataclass(slots=True)
class SharedIdsState:
    """The entries by their id."""

    entries: dict[int, Entry] = field(default_factory=dict)


class SharedIds(Part[SharedIdsState]):
    """Ids of one kind of pages. `is_mapped` says whether the program maps any of a range.

    Relay pages can have only one attachment at a time.
    """

    def __init__(self, kept: Kept, kind: Kind, is_mapped: Callable[[Span], bool]) -> None:
        self._kept = kept
        self.kind = kind
        self._is_mapped = is_mapped
        self._alone = kind is Kind.RELAY
        self.state = SharedIdsState()

    def get(self, key: int, size: int) -> int:
        """Return the id of pages of `size` bytes, a page multiple. Raises Refused."""
        if not size or size % PAGE:
            raise Refused(EPERM, f"{size} bytes: not a page multiple")
        for entry in self.state.entries.values():
            if key != PRIVATE_KEY and entry.key == key and not entry.removed:
                if entry.size < size:
                    raise Refused(EPERM, f"the memory of key {key} has {entry.size} bytes only")
                return entry.id
        self.tidy()
        if len(self.state.entries) >= MOST_IDS:
            raise Refused(EPERM, f"there are {MOST_IDS} ids already")
        try:
            pa, row = self._kept.add(b"", size // PAGE, self.kind)
        except OutOfMemory as error:
            raise Refused(EPERM, str(error)) from None
        number = next(number for number in count(FIRST_MEMORY_ID) if number not in self.state.entries)
        self.state.entries[number] = Entry(number, key, pa, row.size, row.id)
        return number

    def find(self, number: int) -> Entry:
        """Return the entry of an id that is not removed; raises Refused."""
        entry = self.state.entries.get(number)
        if entry is None or entry.removed:
            raise Refused(EPERM, f"there is no id {number:#x}")
        return entry

    def of_serial(self, number: int, serial: int) -> Entry | None:
        """Return the entry of an id, if it still has this serial."""
        entry = self.state.entries.get(number)
        return entry if entry is not None and entry.serial == serial else None

    def part(self, number: int, offset: int, size: int) -> Span | None:
        """Return a range of whole pages; None if the id or the range does not exist."""
        entry = self.state.entries.get(number)
        if entry is None or entry.removed or offset % PAGE or not size or size % PAGE:
            return None
        return Span(entry.pa + offset, size) if offset + size <= entry.size else None

    def attach(self, number: int) -> Entry:
        """Count one more attachment; raises Refused."""
        entry = self.find(number)
        if self._alone and entry.attached:
            raise Refused(EPERM, f"{number:#x} is attached: relay pages are in one place")
        entry.attached += 1
        return entry

    def detach(self, number: int) -> int:
        """Count one attachment less; return the size of the pages. Raises Refused."""
        entry = self.state.entries.get(number)
        if entry is None or not entry.attached:
            raise Refused(EPERM, f"{number:#x} is not attached")
        entry.attached -= 1
        self.tidy()
        return entry.size

    def remove(self, number: int) -> None:
        """Free the pages as soon as they are unused; raises Refused."""
        entry = self.find(number)
        if self._alone and entry.attached:
            raise Refused(EPERM, f"{number:#x} is attached")
        entry.removed = True
        self.tidy()

    def tidy(self) -> None:
        """Free removed pages that are no longer used; pages of an enclave stay until it ends."""
        for entry in [entry for entry in self.state.entries.values() if entry.removed and not entry.attached]:
            if not self._is_mapped(entry.span):
                self._free(entry)

    def _free(self, entry: Entry) -> bool:
        try:
            self._kept.free(entry.pa)
        except EnclaveError:
            return False
        del self.state.entries[entry.id]
        return True

    def close(self) -> None:
        """Free the pages at the end of the process; those that other processes' enclaves have are freed
        later."""
        for entry in list(self.state.entries.values()):
            if not self._free(entry):
                del self.state.entries[entry.id]
                self._kept.abandon(entry.pa)
