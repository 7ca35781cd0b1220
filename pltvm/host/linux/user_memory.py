"""Copies between a process and the kernel, with the permissions of the process, page by page.

Most copies are inside one present page: they read its entry and the page bitmap.
"""

from abc import ABC, abstractmethod
from errno import EFAULT, ENAMETOOLONG
from typing import Final, NamedTuple

from pltvm.engine import sv39
from pltvm.engine.memory import PAGE, PAGE_SHIFT
from pltvm.engine.sv39 import ENTRIES, PPN_MASK
from pltvm.host.linux.areas import EXEC, READ, USER_END, WRITE
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.tables import LEAF_SHIFT, ProcessTable
from pltvm.monitor.host_memory import HostMemory

PTE_BITS: Final = {READ: sv39.R, WRITE: sv39.R | sv39.W, EXEC: sv39.X}
_READABLE: Final = sv39.V | sv39.U | sv39.R
_WRITABLE: Final = _READABLE | sv39.W
_IN_PAGE: Final = PAGE - 1


class Denied(NamedTuple):
    """The reason for a denied access: the number of the signal, and its code."""

    signal: int
    code: int


class UserMemory(ABC):
    """The memory of a process for system calls: `table`, whose pages `fault` makes present."""

    memory: HostMemory
    table: ProcessTable

    @abstractmethod
    def fault(self, va: int, access: int) -> Denied | None:
        """Make the page at `va` present for `access` (READ, WRITE, EXEC); return the reason if that is
        denied."""

    def _locate(self, va: int, access: int) -> int:
        """Return the physical address of `va`, made present; raises LinuxError(EFAULT) if access is
        denied."""
        pa = self.table.translate(va, PTE_BITS[access])
        if pa is None and 0 <= va < USER_END and self.fault(va, access) is None:
            pa = self.table.translate(va, PTE_BITS[access])
        if pa is None:
            raise LinuxError(EFAULT)
        return pa

    def read(self, va: int, size: int) -> bytes:
        """Read `size` bytes of user memory; raises LinuxError(EFAULT)."""
        if 0 < size <= PAGE - (va & _IN_PAGE):
            table = self.table  # the common case, without a call of `translate`
            first = table.leaf_tables.get(va >> LEAF_SHIFT)
            pte = table.all_words[first + (va >> PAGE_SHIFT & ENTRIES - 1)] if first is not None else 0
            if pte & _READABLE == _READABLE:
                return self.memory.read((pte & PPN_MASK) << 2 | va & _IN_PAGE, size)
            return self.memory.read(self._locate(va, READ), size)
        return b"".join(self.memory.read(pa, n) for pa, n in self._spans(va, size, READ))

    def write(self, va: int, data: bytes | memoryview) -> None:
        """Write `data` to user memory; raises LinuxError(EFAULT)."""
        size = len(data)
        if 0 < size <= PAGE - (va & _IN_PAGE):
            table = self.table
            first = table.leaf_tables.get(va >> LEAF_SHIFT)
            pte = table.all_words[first + (va >> PAGE_SHIFT & ENTRIES - 1)] if first is not None else 0
            if pte & _WRITABLE == _WRITABLE:
                self.memory.write((pte & PPN_MASK) << 2 | va & _IN_PAGE, data)
            else:
                self.memory.write(self._locate(va, WRITE), data)
            return
        view, done = memoryview(data), 0
        for pa, n in self._spans(va, size, WRITE):
            self.memory.write(pa, view[done : done + n])
            done += n

    def _spans(self, va: int, size: int, access: int) -> list[tuple[int, int]]:
        """Return physical address and bytes of each contiguous part of a range, made present; raises
        LinuxError(EFAULT)."""
        spans: list[tuple[int, int]] = []
        translate, bits, start, end = self.table.translate, PTE_BITS[access], 0, 0
        while size > 0:
            n = min(size, PAGE - (va & _IN_PAGE))
            pa = translate(va, bits) or self._locate(va, access)
            if pa != end:
                if end:
                    spans.append((start, end - start))
                start = pa
            end = pa + n
            va, size = va + n, size - n
        if end:
            spans.append((start, end - start))
        return spans

    def string(self, va: int, limit: int = 4096) -> bytes:
        """Read the NUL-terminated string at `va`, without the NUL; raises LinuxError."""
        text = b""
        while len(text) < limit:
            part = self.read(va + len(text), PAGE - (va + len(text)) % PAGE)
            end = part.find(b"\0")
            if end >= 0:
                return text + part[:end]
            text += part
        raise LinuxError(ENAMETOOLONG)

    def word(self, va: int) -> int:
        """Read the u32 at `va`; raises LinuxError(EFAULT)."""
        return int.from_bytes(self.read(va, 4), "little")
