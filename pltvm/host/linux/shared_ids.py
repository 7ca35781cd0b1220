"""Memory that a Linux program names by an id: shared with enclaves, or handed over to them (§8, 0x10 … 0x17).

Ids are like System V's: `get` makes pages or finds those of that key, `attach` and `detach` count mappings,
`remove` lets the pages go once nobody uses them any more. Ids start at 1; 0 in a request means none.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pltvm.engine.memory import PAGE
from pltvm.errors import EnclaveError
from pltvm.host.linux.errno import EINVAL, LinuxError
from pltvm.host.shared import RelayMemory, SharedMemory

PRIVATE_KEY = 0
LARGEST = 1 << 40


@dataclass(slots=True)
class Entry:
    """Pages with an id: how often they are mapped, and whether they go away with their last user."""

    id: int
    key: int
    pages: SharedMemory | RelayMemory
    mapped: int = 0
    removed: bool = False


class SharedIds:
    """Ids of one kind; `make` makes cleared pages of so many bytes."""

    def __init__(self, make: Callable[[int], SharedMemory | RelayMemory]) -> None:
        self._make = make
        self._entries: dict[int, Entry] = {}
        self._next_id = 1

    def get(self, key: int, size: int) -> int:
        """The id of pages of `size` bytes, a page multiple. Raises LinuxError, OutOfMemory."""
        if not 0 < size < LARGEST or size % PAGE:
            raise LinuxError(EINVAL)
        for entry in self._entries.values():
            if key != PRIVATE_KEY and entry.key == key and not entry.removed:
                if entry.pages.size < size:
                    raise LinuxError(EINVAL)
                return entry.id
        entry = Entry(self._next_id, key, self._make(size))
        self._next_id += 1
        self._entries[entry.id] = entry
        return entry.id

    def find(self, number: int) -> Entry:
        """The entry of an id that is not removed; raises LinuxError."""
        entry = self._entries.get(number)
        if entry is None or entry.removed:
            raise LinuxError(EINVAL)
        return entry

    def part(self, number: int, offset: int, size: int) -> tuple[int, int]:
        """Physical address and bytes of whole pages; size 0 means all behind the offset."""
        pages = self.find(number).pages
        size = size or pages.size - offset
        if offset % PAGE or size % PAGE or not 0 <= offset < offset + size <= pages.size:
            raise LinuxError(EINVAL)
        return pages.pa + offset, size

    def detach(self, number: int) -> None:
        """One mapping less; raises LinuxError when there was none."""
        entry = self._entries.get(number)
        if entry is None or not entry.mapped:
            raise LinuxError(EINVAL)
        entry.mapped -= 1
        self.tidy()

    def remove(self, number: int) -> None:
        """Let the pages go as soon as nobody uses them; raises LinuxError."""
        self.find(number).removed = True
        self.tidy()

    def tidy(self) -> None:
        """Free what is removed and no longer used; what an enclave still has stays until it ends."""
        for entry in list(self._entries.values()):
            if entry.removed and not entry.mapped:
                try:
                    entry.pages.free()
                except EnclaveError:
                    continue
                del self._entries[entry.id]

    def close(self) -> None:
        """The process is over: nothing is mapped any more."""
        for entry in self._entries.values():
            entry.removed, entry.mapped = True, 0
        self.tidy()
