"""The areas of an address space: ranges of addresses, each with one protection and one kind of content.

start       end                     private and anonymous     pages are made when they are touched
  │ pages … │                       of a memory object        `object` from `offset` on, see `objects`
                                    private copy of one       likewise, until a page is written: `copies`
                                    of the enclave device     `shared`, a physical address
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from typing import Final

READ, WRITE, EXEC = 1, 2, 4  # as PROT_*
USER_END: Final = 0x40_0000_0000  # end of the lower half of Sv39
MMAP_TOP: Final = 0x3F_F010_0000  # near the stack, so that one middle table covers both
LOWEST: Final = 0x10000
NOT_IN_CHILD, WIPED_IN_CHILD = 1, 2  # the effect of fork on an area


@dataclass(frozen=True, slots=True)
class Area:
    """Addresses `start` … `end` with protection `prot` (READ, WRITE, EXEC).

    `shared` is the physical address of pages with another owner (device memory), mapped from `start` on; None
    for other memory. `object` is the number of the memory object whose bytes from `offset` on the area shows;
    0 for none. If it `copies`, a process that writes gets its own copy of the page. Without `may_write`,
    `prot` never gets WRITE. `at_fork` says what a child gets of it, `name` is shown in /proc/PID/maps.
    """

    start: int
    end: int
    prot: int
    shared: int | None = None
    object: int = 0
    offset: int = 0
    copies: bool = False
    may_write: bool = True
    name: str = ""
    at_fork: int = 0

    @property
    def is_private(self) -> bool:
        """Whether writes are private to the process."""
        return self.shared is None and (self.copies or not self.object)

    @property
    def is_anonymous(self) -> bool:
        """Whether it is private and shows no object."""
        return self.shared is None and not self.object

    def allows(self, access: int) -> bool:
        """Whether READ, WRITE or EXEC is permitted; what can be written can be read, as the hardware knows no
        other."""
        return bool(self.prot & (access | (WRITE if access == READ else 0)))

    def cut(self, start: int, end: int) -> "Area":
        """Return the part of the area between two addresses inside it."""
        by = start - self.start
        shared = None if self.shared is None else self.shared + by
        offset = self.offset + by if self.object else self.offset
        return replace(self, start=start, end=end, shared=shared, offset=offset)

    def at(self, start: int) -> "Area":
        """Return the same area at another address."""
        return replace(self, start=start, end=self.end + start - self.start)

    def showing(self, start: int, end: int) -> tuple[int, int]:
        """Return the addresses that show these offsets of its object; start ≥ end means none."""
        by = self.start - self.offset
        return max(self.start, start + by), min(self.end, end + by)

    def goes_on_as(self, other: "Area") -> bool:
        """Whether the other area, which begins at the end of this one, could be merged into it."""
        if self.shared is not None:
            return False
        offset = self.offset + self.end - self.start if self.object else self.offset
        return other == replace(self, start=other.start, end=other.end, offset=offset)

    def __str__(self) -> str:
        """Return its line in /proc/PID/maps."""
        letters = (("r", READ), ("w", WRITE), ("x", EXEC))
        rights = "".join(letter if self.prot & bit else "-" for letter, bit in letters)
        offset = self.offset if self.object else 0
        kind = "p" if self.is_private else "s"
        line = f"{self.start:08x}-{self.end:08x} {rights}{kind} {offset:08x} 00:00 0"
        return f"{line:<72} {self.name}" if self.name else line


def find(areas: list[Area], va: int) -> Area | None:
    """Return the area that contains `va`, or None."""
    index = bisect_right(areas, va, key=_start) - 1
    return areas[index] if index >= 0 and va < areas[index].end else None


def between(areas: list[Area], start: int, end: int) -> slice:
    """Return the slice of the areas that overlap a range."""
    low = bisect_right(areas, start, key=_start)
    if low and start < areas[low - 1].end:
        low -= 1
    return slice(low, max(bisect_left(areas, end, key=_start), low))


def carve(areas: list[Area], start: int, end: int) -> list[Area]:
    """Remove a range from the areas; return the removed parts."""
    where = between(areas, start, end)
    touched = areas[where]
    if not touched:
        return []
    first, last = touched[0], touched[-1]
    rest = [first.cut(first.start, start)] if first.start < start else []
    if end < last.end:
        rest.append(last.cut(end, last.end))
    areas[where] = rest
    return [area.cut(max(area.start, start), min(area.end, end)) for area in touched]


def insert(areas: list[Area], area: Area) -> None:
    """Add an area in a free range, and merge it with equal neighbours."""
    at = bisect_left(areas, area.start, key=_start)
    low, high = at, at
    if at and areas[at - 1].end == area.start and areas[at - 1].goes_on_as(area):
        low, area = at - 1, replace(areas[at - 1], end=area.end)
    if at < len(areas) and areas[at].start == area.end and area.goes_on_as(areas[at]):
        high, area = at + 1, replace(area, end=areas[at].end)
    areas[low:high] = [area]


def free_range(areas: list[Area], size: int) -> int | None:
    """Return the highest address below MMAP_TOP with `size` free bytes, or None."""
    end = MMAP_TOP
    for index in range(bisect_left(areas, MMAP_TOP, key=_start) - 1, -1, -1):
        area = areas[index]
        if end - area.end >= size:
            break
        end = area.start
    return end - size if end - size >= LOWEST else None


def _start(area: Area) -> int:
    return area.start
