"""The host's page tables, which the host can read but only the monitor changes (§8, TVM).

They are in the PT area, in three parts: roots, middle tables, leaf tables. An entry that the host requests is
checked by the part it is in: a root points to middle tables, a middle table to leaf tables, and only public
memory is mapped. When memory becomes private, every entry that maps it loses V; when it is public again, they
get V back. A reverse map finds these entries, so the cost depends only on the pages concerned.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Final

from pltvm.engine.memory import PAGE, PAGE_SHIFT, Memory
from pltvm.engine.sv39 import (
    ENTRIES,
    PAGE_STEP,
    PPN_MASK,
    PPN_SHIFT,
    SATP_SV39,
    D,
    R,
    V,
    W,
    X,
    pte_address,
    root_of,
)
from pltvm.monitor.abi import SetPte, Status
from pltvm.monitor.pages import PRIVATE, PageOwners
from pltvm.monitor.records import Globals

_LEAF: Final = R | W | X
_RESERVED: Final = ~((1 << 54) - 1)
_SATP_MODE: Final = 0xF << 60
ROOT, MIDDLE, LEAVES = range(3)
_NO_ENTRIES: Final = bytes(PAGE)
MOST_ENTRIES: Final = 32 * ENTRIES  # in one call, which nothing can interrupt


class HostTables:
    """The PT area at `start`, of `size` bytes. It has no tables until `separate` is called.

    The parts matter because an entry has another meaning on another level: a page, or a huge page.

    `protected` are the regions (physical address, bytes) that PMP protects from the host. The reverse map is
    derived: `find_entries` rebuilds it from the tables.
    """

    def __init__(
        self,
        memory: Memory,
        owners: PageOwners,
        start: int,
        size: int,
        protected: Sequence[tuple[int, int]],
        records: Globals,
        changed: Callable[[], None],
    ) -> None:
        self.memory = memory
        self.owners = owners
        self.start = start
        self.end = start + size
        self._protected = protected
        self._records = records  # they have the ends of the parts
        self._changed = changed
        # Page number → addresses of the leaf entries that map it; most have one, and a tuple is small.
        self._entries: dict[int, tuple[int, ...] | set[int]] = {}
        owners.on_private = self._hide
        owners.on_public = self._show

    def separate(self, root_order: int, middle_order: int) -> int:
        """Monitor call 83: the first 2^root_order pages are roots, the next 2^middle_order middle tables."""
        if not (0 <= root_order < 32 and 0 <= middle_order < 32) or self._records.middle_end:
            return Status.ERROR
        middle = self.start + (PAGE << root_order)
        leaves = middle + (PAGE << middle_order)
        if leaves >= self.end:
            return Status.ERROR
        self._records.roots_end, self._records.middle_end = middle, leaves
        return Status.OK

    @property
    def _parts(self) -> tuple[tuple[int, int], ...]:
        """Start and end of roots, middle tables and leaf tables; all empty at first."""
        middle, leaves = self._records.roots_end, self._records.middle_end
        if not leaves:
            return ((self.start, self.start),) * 3
        return (self.start, middle), (middle, leaves), (leaves, self.end)

    def find_entries(self) -> None:
        """Rebuild the reverse map, after RAM was restored."""
        self._entries.clear()
        ram, (low, high) = self.memory, self._parts[LEAVES]
        for table in range(low, high, PAGE):
            at = table - ram.base
            if ram.bytes[at : at + PAGE] != _NO_ENTRIES:
                for slot, pte in enumerate(ram.words[at >> 3 : (at >> 3) + ENTRIES]):
                    if pte & _LEAF:
                        self._maps(pte_address(pte) >> PAGE_SHIFT, table + 8 * slot)

    def _maps(self, number: int, slot: int) -> None:
        """Note that the entry at `slot` maps this page."""
        slots = self._entries.get(number)
        if slots is None:
            self._entries[number] = (slot,)
        elif isinstance(slots, set):
            slots.add(slot)
        else:
            self._entries[number] = {*slots, slot}

    @property
    def maps_anything(self) -> bool:
        """Whether there is any leaf entry."""
        return bool(self._entries)

    def accepts_satp(self, satp: int) -> bool:
        """Whether the host may use this `satp`: Sv39, with a root in the root part."""
        root, (low, high) = root_of(satp), self._parts[ROOT]
        return satp & _SATP_MODE == SATP_SV39 and low <= root < high

    def set_pte(self, kind: int, address: int, value: int, size: int) -> int:
        """Monitor call 101.

        ONE sets the entry at `address` to `value`, ZERO clears it. COPY sets `size` bytes of entries from
        those at the physical address `value`. BATCH_SET and BATCH_ZERO take `size` records of (entry
        address, entry) at `value`. All or nothing; refused beyond MOST_ENTRIES.
        """
        is_row = kind == SetPte.COPY and self._copy_row(address, value, size)
        if not is_row and not self._set_each(kind, address, value, size):
            return Status.ERROR
        self._changed()
        return Status.OK

    def _set_each(self, kind: int, address: int, value: int, size: int) -> bool:
        """Do `set_pte` entry by entry; return False if the request is refused."""
        changes = self._requested(kind, address, value, size)
        if changes is None or not all(self._acceptable(slot, pte) for slot, pte in changes):
            return False
        for slot, asked in changes:
            pte = self._read_only_tables(asked)
            self._forget(slot)
            self.memory.store(slot, pte)
            if pte & _LEAF:
                page = pte_address(pte)
                self._maps(page >> PAGE_SHIFT, slot)
                if pte & X:
                    self.memory.executable(page)
                elif pte & W:
                    self._may_be_stored_to(page)
        return True

    def _may_be_stored_to(self, page: int, count: int = 1) -> None:
        """Discard the translated code of these pages: the next process may write and run them."""
        ram = self.memory
        first = page - ram.base >> PAGE_SHIFT
        at = ram.code.find(1, first, first + count) if 0 <= first < len(ram.code) else -1
        while at >= 0:
            pa = ram.base + (at << PAGE_SHIFT)
            if self.owners.owner(pa) is None and not self._executable(
                self._entries.get(pa >> PAGE_SHIFT, ())
            ):
                ram.not_executable(pa)
            at = ram.code.find(1, at + 1, first + count)

    def _copy_row(self, address: int, source: int, size: int) -> bool:
        """Do COPY in the common case at once: consecutive entries of one leaf table, which either map
        contiguous public pages with the same flags, or are cleared. Otherwise return False and change
        nothing."""
        low, high = self._parts[LEAVES]
        one_table = low <= address < high and (address ^ address + size - 8) < PAGE
        if address % 8 or size % 8 or not 0 < size <= PAGE or not one_table:
            return False
        if source % 8 or not self.owners.is_public(source, size):
            return False
        ram, count = self.memory, size >> 3
        row = ram.read(source, size)
        words = memoryview(row).cast("Q")
        first = words[0]
        if row.count(0) == size:
            pages = None
        else:
            page = pte_address(first)
            pages = range(page >> PAGE_SHIFT, (page >> PAGE_SHIFT) + count)
            wanted = range(first, first + count * PAGE_STEP, PAGE_STEP)
            if (
                not first & V
                or not first & _LEAF
                or first & _LEAF in (W, W | X)
                or (first | wanted[-1]) & _RESERVED
                or words.tolist() != list(wanted)
                or not ram.contains(page, count * PAGE)
                or max(self.owners.entries[self._span(pages)]) >= PRIVATE
                or (page < self.end and self.start < page + count * PAGE)
            ):
                return False
        at = address - ram.base >> 3
        old = ram.words[at : at + count].tolist()
        if any(old):
            self._forget_row(address, old)
        ram.write(address, row)
        if pages is not None:
            slots, entries = range(address, address + size, 8), self._entries
            if entries.keys().isdisjoint(pages):
                entries.update(zip(pages, zip(slots, strict=True), strict=True))
            else:
                for page_number, slot in zip(pages, slots, strict=True):
                    self._maps(page_number, slot)
            if first & X:
                ram.executable(page, count)
            elif first & W:
                self._may_be_stored_to(page, count)
        return True

    def _span(self, pages: range) -> slice:
        base = self.memory.base >> PAGE_SHIFT
        return slice(pages.start - base, pages.stop - base)

    def _forget_row(self, address: int, old: list[int]) -> None:
        """Like `_forget`, for consecutive entries."""
        entries, dirty = self._entries, self.memory.dirty
        first, pages = self.memory.base >> PAGE_SHIFT, len(self.memory.dirty)
        for slot, pte in zip(range(address, address + 8 * len(old), 8), old, strict=True):
            number = (pte & PPN_MASK) >> PPN_SHIFT
            slots = entries.get(number)
            if slots is None or len(slots) > 1:
                self._forget(slot)
            elif pte & _LEAF and slot in slots:
                if pte & D and 0 <= number - first < pages:
                    dirty[number - first] = 1
                del entries[number]

    def _requested(self, kind: int, address: int, value: int, size: int) -> list[tuple[int, int]] | None:
        """Return the (entry address, entry) pairs of a request, None when it is invalid."""
        if kind == SetPte.ONE:
            return [(address, value)]
        if kind == SetPte.ZERO:
            return [(address, 0)]
        width = 8 if kind == SetPte.COPY else 16
        length = size if kind == SetPte.COPY else size * width
        if kind not in (SetPte.COPY, SetPte.BATCH_ZERO, SetPte.BATCH_SET):
            return None
        if not 0 < length <= MOST_ENTRIES * width:
            return None
        if value % 8 or length % width or not self.owners.is_public(value, length):
            return None
        words = memoryview(self.memory.read(value, length)).cast("Q").tolist()
        if kind == SetPte.COPY:
            return [(address + 8 * index, pte) for index, pte in enumerate(words)]
        entries = words[1::2] if kind == SetPte.BATCH_SET else [0] * size
        return list(zip(words[::2], entries, strict=True))

    def _acceptable(self, slot: int, pte: int) -> bool:
        level = self.level_of(slot)
        if level is None or slot % 8 or pte & _RESERVED:
            return False
        if not pte & V:
            return pte == 0
        target = pte_address(pte)
        if pte & _LEAF:
            return level == LEAVES and pte & _LEAF not in (W, W | X) and self._may_map(target)
        return level < LEAVES and self.level_of(target) == level + 1

    def level_of(self, address: int) -> int | None:
        """Return the level of the table at `address`, None if there is none."""
        return next((level for level, (low, high) in enumerate(self._parts) if low <= address < high), None)

    def _may_map(self, page: int) -> bool:
        """Whether the page is public, or protected by PMP in any case: the monitor, the bitmap, the PT
        area."""
        covered = any(start <= page < start + size for start, size in self._protected)
        return covered or self.owners.is_public(page, PAGE)

    def _read_only_tables(self, pte: int) -> int:
        """Return the entry, made read-only if it maps the PT area.

        PMP forbids writes too, but the JIT checks PMP only for the access that fills its TLB, and then uses
        the entry: with W, a store after a load would change the tables.
        """
        if pte & _LEAF and self.start <= pte_address(pte) < self.end:
            return pte & ~(W | X) | R
        return pte

    def _forget(self, slot: int) -> None:
        old = self.memory.load(slot)
        if old & _LEAF:
            page = pte_address(old)
            if old & D:
                self._note(page)
            number = page >> PAGE_SHIFT
            slots = self._entries.get(number, ())
            if isinstance(slots, set):
                slots.discard(slot)
            elif slot in slots:
                slots = ()
            if old & X and slots and self.owners.owner(page) is None and not self._executable(slots):
                self.memory.not_executable(page)
            if not slots:
                self._entries.pop(number, None)

    @property
    def pages(self) -> range:
        """The numbers of the pages of the PT area, counted from the start of RAM."""
        base = self.memory.base
        return range((self.start - base) >> PAGE_SHIFT, (self.end - base) >> PAGE_SHIFT)

    def note_written(self) -> None:
        """Add the pages written through the host's tables to RAM's log, and clear their D bits. The caller
        tells the hart."""
        memory = self.memory
        for number, slots in self._entries.items():
            for slot in slots:
                pte = memory.load(slot)
                memory.touch(slot & -PAGE)  # the JIT sets A and D in it
                if pte & D:
                    memory.store(slot, pte & ~D)
                    self._note(number << PAGE_SHIFT)

    def _note(self, page: int) -> None:
        if self.memory.contains(page, PAGE):
            self.memory.touch(page)

    def executable_pages(self) -> list[int]:
        """Physical addresses of the pages that the host can execute now."""
        words, base, executable = self.memory.words, self.memory.base, V | X
        found = []
        for number, slots in self._entries.items():
            for slot in slots:
                if words[slot - base >> 3] & executable == executable:
                    found.append(number << PAGE_SHIFT)
                    break
        return found

    def _executable(self, slots: Collection[int]) -> bool:
        words, base = self.memory.words, self.memory.base
        return any(words[slot - base >> 3] & X for slot in slots)

    def _hide(self, pa: int, pages: int) -> None:
        self._set_bits(pa, pages, ~V, 0)

    def _show(self, pa: int, pages: int) -> None:
        for number in self._set_bits(pa, pages, ~0, V):
            if self._executable(self._entries[number]):
                self.memory.executable(number << PAGE_SHIFT)

    def _set_bits(self, pa: int, pages: int, keep: int, add: int) -> list[int]:
        """Change the entries that map these pages: bits of `keep` stay, and those of `add` are set.

        Return the numbers of the pages with entries.
        """
        if not self._entries:
            return []
        first = pa >> PAGE_SHIFT
        numbers = range(first, first + pages)
        if pages > len(self._entries):
            found = [number for number in self._entries if number in numbers]
        else:
            found = [number for number in numbers if number in self._entries]
        words, dirty, base = self.memory.words, self.memory.dirty, self.memory.base
        for number in found:
            for slot in self._entries[number]:
                at = slot - base >> 3
                words[at] = words[at] & keep | add
                dirty[at >> 9] = 1
        if found:
            self._changed()
        return found
