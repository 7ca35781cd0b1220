"""The memory of a Linux process: areas, pages on demand, and copies to and from user memory.

An area is a range of addresses with one protection. Its pages are allocated when they are first touched, by
the page-fault handler or by a system call that copies. Entries get into the page table by monitor calls only.
"""

from bisect import bisect_right, insort
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from pltvm.engine import sv39
from pltvm.engine.memory import PAGE, pages_for
from pltvm.engine.page_table import PageTable
from pltvm.engine.sv39 import ENTRIES
from pltvm.host.kernel import Kernel
from pltvm.host.linux.errno import EACCES, EFAULT, ENAMETOOLONG, ENOMEM, LinuxError
from pltvm.host.plain import Part, copied
from pltvm.host.spans import Span
from pltvm.monitor.abi import HostCall, SetPte, Status

USER_END: Final = 0x40_0000_0000  # Sv39: the lower half
MMAP_TOP: Final = 0x3F_0000_0000
READ, WRITE, EXEC = 1, 2, 4  # as PROT_*
LOWEST: Final = 0x10000
MOST_AREAS: Final = 65530  # as on Linux


class TablePage(NamedTuple):
    """A page of the PT area that a page table has: its level and physical address."""

    level: int
    page: int


class ProcessTable(PageTable):
    """A page table in the PT area: the same walk, but every change is a monitor call.

    `pages` are those that it has, the root first; it takes more as it grows.
    """

    def __init__(self, kernel: Kernel, pages: list[TablePage]) -> None:
        self._kernel = kernel
        self.pages = pages
        if not pages:
            self._take(0)
        super().__init__(kernel.hart.memory, pages[0].page, lambda: 0)  # what the MMU walks

    def _take(self, level: int) -> int:
        page = self._kernel.tables.take(level)
        self.pages.append(TablePage(level, page))
        return page

    def load(self, pages: list[TablePage]) -> None:
        """Other tables, which RAM holds; none if there are to be none any more."""
        self.pages = pages
        self.root = pages[0].page if pages else 0
        self.forget()

    def make_tables(self, va: int, pages: int) -> None:
        """Make the tables that mapping these pages needs; raises OutOfMemory."""
        for key in range(va >> 21, ((va + pages * PAGE - 1) >> 21) + 1):
            sv39.walk(self.memory, self.root, key << 21, self._make_table)

    def _make_table(self, level: int, slot: int) -> int:
        page = self._take(level)
        self._set(slot, sv39.make_pte(page, sv39.V))
        return page

    def set_entry(self, va: int, pte: int) -> None:
        """Set the leaf entry for `va`; 0 clears it."""
        if pte:
            self.make_tables(va, 1)
        slot = self.slot(va)
        if slot:
            self._set(slot, pte)

    def raw_entry(self, va: int) -> int:
        """The leaf entry for `va` even while the monitor hides it (V off); 0 when there is none."""
        slot = self.slot(va)
        return self.memory.load(slot) if slot else 0

    def _set(self, slot: int, pte: int) -> None:
        kind = SetPte.ONE if pte else SetPte.ZERO
        if self._kernel.call(HostCall.SET_PTE, kind, slot, pte, 0) != Status.OK:
            raise LinuxError(EFAULT)

    def free(self) -> None:
        """Clear every entry and give the tables back."""
        for level, page in reversed(self.pages):
            first = (page - self.memory.base) >> 3
            for index, pte in enumerate(self.memory.words[first : first + ENTRIES].tolist()):
                if pte:
                    self._set(page + 8 * index, 0)
            self._kernel.tables.give(level, page)
        self.pages.clear()
        self.forget()


@dataclass(frozen=True, slots=True)
class Area:
    """Addresses `start` … `end` with protection `prot` (READ, WRITE, EXEC).

    `shared` is the physical address of pages that belong to someone else (mapped device memory), mapped
    from `start` on; None for memory of the process itself.
    """

    start: int
    end: int
    prot: int
    shared: int | None = None

    def cut(self, start: int, end: int) -> "Area":
        """The part of the area between two addresses inside it."""
        shared = None if self.shared is None else self.shared + start - self.start
        return replace(self, start=start, end=end, shared=shared)


@dataclass(slots=True)
class SpaceState:
    """An address space, but for the entries of its tables; `break_start` … `break_end` is the heap."""

    areas: list[Area] = field(default_factory=list)  # sorted, without overlaps
    own: dict[int, int] = field(default_factory=dict)  # page address → block of RAM that is the process's own
    mapped: set[int] = field(default_factory=set)  # page addresses with an entry in the table
    flips: dict[int, int] = field(default_factory=dict)  # how often one turned executable, or back
    break_start: int = 0
    break_end: int = 0
    tables: list[TablePage] = field(default_factory=list)


class Space(Part[SpaceState]):
    """Address space of a process: a new one, or `saved`. The heap is what `brk` moves."""

    def __init__(self, kernel: Kernel, saved: SpaceState | None = None) -> None:
        self.kernel = kernel
        self.memory = kernel.memory
        self.state = copied(saved) if saved is not None else SpaceState()
        self.table = ProcessTable(kernel, self.state.tables)
        kernel.holders.append(self._held)

    def _held(self) -> Iterable[int]:
        return self.state.own.values()

    def let_go(self) -> None:
        """Its memory is somebody else's affair from now on."""
        self.kernel.holders.remove(self._held)

    def load(self, saved: SpaceState) -> None:
        super().load(saved)
        self.table.load(self.state.tables)

    # -- areas -------------------------------------------------------------------------------------------

    def area(self, va: int) -> Area | None:
        """The area that holds `va`."""
        index = bisect_right(self.state.areas, va, key=_start) - 1
        return self.state.areas[index] if index >= 0 and va < self.state.areas[index].end else None

    def overlaps(self, start: int, end: int) -> bool:
        """Whether any area touches the range."""
        return any(area.start < end and start < area.end for area in self.state.areas)

    def maps(self, span: Span) -> bool:
        """Whether any area maps pages of this span that belong to someone else."""
        return any(
            area.shared is not None
            and area.shared < span.end
            and span.pa < area.shared + area.end - area.start
            for area in self.state.areas
        )

    def place(self, size: int) -> int:
        """A free range of `size` bytes, as high as possible; raises LinuxError when there is none."""
        end = MMAP_TOP
        for area in reversed(self.state.areas):
            if area.start < MMAP_TOP:
                if end - area.end >= size:
                    break
                end = area.start
        if end - size < LOWEST:
            raise LinuxError(ENOMEM)
        return end - size

    def map(self, start: int, size: int, prot: int, shared: int | None = None) -> None:
        """Make an area of whole pages, in place of whatever was there; LinuxError for one too many."""
        end = start + pages_for(size) * PAGE
        self._must_have_room()
        self.unmap(start, end - start)
        self._insert(Area(start, end, prot, shared))

    def unmap(self, start: int, size: int) -> None:
        """Remove a range: its pages go back to the kernel. LinuxError if that splits an area too many."""
        end = start + pages_for(size) * PAGE
        split = self.area(start)
        if split is not None and split.start < start and end < split.end:
            self._must_have_room()
        self._carve(start, end)
        self.drop(start, size)

    def drop(self, start: int, size: int) -> None:
        """Forget what the pages of a range hold; they read as zero again."""
        end = start + pages_for(size) * PAGE
        self._clear_entries(start, end)
        for va in _within(self.state.own, start, end):
            self.kernel.blocks.give(self.state.own.pop(va))

    def protect(self, start: int, size: int, prot: int) -> None:
        """Change the protection of a range; raises LinuxError where part of it is not mapped.

        Entries are cleared and made anew, with the new protection, when the pages are touched. What belongs
        to someone else can not be executed: it may be mapped twice, and the JIT does not see all stores that
        come to code by another address.
        """
        end = start + pages_for(size) * PAGE
        self._must_have_room()
        shared = (area for area in self.state.areas if area.shared is not None)
        if prot & EXEC and any(area.start < end and start < area.end for area in shared):
            raise LinuxError(EACCES)
        parts = self._carve(start, end)
        for part in parts:
            self._insert(replace(part, prot=prot))
        self._clear_entries(start, end)
        if sum(part.end - part.start for part in parts) != end - start:
            raise LinuxError(ENOMEM)

    def _must_have_room(self) -> None:
        if len(self.state.areas) >= MOST_AREAS:
            raise LinuxError(ENOMEM)

    def _insert(self, area: Area) -> None:
        insort(self.state.areas, area, key=_start)

    def _carve(self, start: int, end: int) -> list[Area]:
        """Take the range out of the areas; the parts that were in it."""
        inside, rest = [], []
        for area in self.state.areas:
            if area.end <= start or end <= area.start:
                rest.append(area)
                continue
            inside.append(area.cut(max(area.start, start), min(area.end, end)))
            if area.start < start:
                rest.append(area.cut(area.start, start))
            if end < area.end:
                rest.append(area.cut(end, area.end))
        self.state.areas = sorted(rest, key=_start)
        return inside

    def _clear_entries(self, start: int, end: int) -> None:
        for va in _within(self.state.mapped, start, end):
            self.table.set_entry(va, 0)
            self.state.mapped.discard(va)
            self.state.flips.pop(va, None)

    # -- pages -------------------------------------------------------------------------------------------

    def fault(self, va: int, access: int) -> bool:
        """Make the page at `va` present for `access` (READ, WRITE, EXEC); False when that is not allowed.

        Raises LinuxError(EFAULT) for memory that is an enclave's now: its entry exists without V, or the
        monitor refuses one. Raises OutOfMemory.
        """
        page = va & ~(PAGE - 1)
        area = self.area(page)
        if area is None or area.prot & access != access:
            return False
        if page in self.state.mapped:
            if not self.table.raw_entry(page) & sv39.V:
                raise LinuxError(EFAULT)
            return self._flip(page, area.prot, access)
        if area.shared is not None:
            pa = area.shared + page - area.start
        else:
            if page not in self.state.own:
                self.state.own[page] = self.kernel.blocks.take(1)
            pa = self.state.own[page]
        if not self.memory.is_public(pa, PAGE):
            raise LinuxError(EFAULT)
        self.table.set_entry(page, sv39.make_pte(pa, _flags(area.prot, access)))
        self.state.mapped.add(page)
        return True

    def _flip(self, page: int, prot: int, access: int) -> bool:
        """Give a mapped page that is to be writable and executable the other of the two; False for others.

        One at a time, as stores to a page that is both at once are slow; one that keeps flipping is left so.
        """
        pte = self.table.raw_entry(page)
        if prot & access & (WRITE | EXEC) == 0 or prot & (WRITE | EXEC) != WRITE | EXEC:
            return False
        if pte & _PTE_BITS[access] & ~sv39.R:
            return False  # not what was lacking
        flips = self.state.flips.get(page, 0)
        self.state.flips[page] = flips + 1
        flags = _flags(prot, access) | (sv39.W | sv39.X if flips >= sv39.FLIPS_BEFORE_GIVING_UP else 0)
        self.table.set_entry(page, sv39.make_pte(sv39.pte_address(pte), flags))
        return True

    def _locate(self, va: int, access: int) -> int:
        """Physical address of `va`, made present; raises LinuxError(EFAULT) if the process may not."""
        pa = self.table.translate(va, _PTE_BITS[access])
        if pa is None and 0 <= va < USER_END and self.fault(va, access):
            pa = self.table.translate(va, _PTE_BITS[access])
        if pa is None:
            raise LinuxError(EFAULT)
        return pa

    def read(self, va: int, size: int) -> bytes:
        """`size` bytes of user memory; raises LinuxError(EFAULT)."""
        parts = []
        while size > 0:
            n = min(size, PAGE - va % PAGE)
            parts.append(self.memory.read(self._locate(va, READ), n))
            va, size = va + n, size - n
        return b"".join(parts)

    def write(self, va: int, data: bytes) -> None:
        """Put `data` into user memory; raises LinuxError(EFAULT)."""
        view = memoryview(data)
        while view:
            n = min(len(view), PAGE - va % PAGE)
            self.memory.write(self._locate(va, WRITE), view[:n])
            va, view = va + n, view[n:]

    def fill(self, va: int, data: bytes | memoryview) -> None:
        """Put `data` where the process itself may not write: its program text."""
        view = memoryview(data)
        while view:
            n = min(len(view), PAGE - va % PAGE)
            page = va & ~(PAGE - 1)
            if page not in self.state.own:
                self.state.own[page] = self.kernel.blocks.take(1)
            self.memory.write(self.state.own[page] + va % PAGE, view[:n])
            va, view = va + n, view[n:]

    def string(self, va: int, limit: int = 4096) -> bytes:
        """The NUL-terminated string at `va`, without the NUL; raises LinuxError."""
        text = b""
        while len(text) < limit:
            part = self.read(va + len(text), PAGE - (va + len(text)) % PAGE)
            text += part
            if b"\0" in part:
                return text.split(b"\0", 1)[0]
        raise LinuxError(ENAMETOOLONG)

    def word(self, va: int) -> int:
        """The u32 at `va`; raises LinuxError(EFAULT)."""
        return int.from_bytes(self.read(va, 4), "little")

    def free(self) -> None:
        """Give everything back to the kernel."""
        self.let_go()
        self.table.free()
        for block in self.state.own.values():
            self.kernel.blocks.give(block)
        self.state = SpaceState()


_PTE_BITS: Final = {READ: sv39.R, WRITE: sv39.R | sv39.W, EXEC: sv39.X}


def _flags(prot: int, access: int) -> int:
    """The entry's flags; of a page that is to be writable and executable, for this access."""
    flags = sv39.READ_ONLY_DATA
    if prot & WRITE and not (prot & EXEC and access == EXEC):
        flags |= sv39.W
    elif prot & EXEC:
        flags |= sv39.X
    return flags


def _start(area: Area) -> int:
    return area.start


def _within(pages: Collection[int], start: int, end: int) -> list[int]:
    """The pages of a range that are in the collection, whichever is cheaper to go through."""
    if (end - start) // PAGE < len(pages):
        return [va for va in range(start, end, PAGE) if va in pages]
    return sorted(va for va in pages if start <= va < end)
