"""A file in memory (memfd_create): one of the real system, so that it can be mapped and sealed like others.

What is saved of one is its content.
"""

import fcntl
import os
from dataclasses import dataclass
from typing import Any

from pltvm.host.linux.errors import linux_errors
from pltvm.host.linux.files.host import Disk, HostFile, must_be_spare


@dataclass(frozen=True, slots=True)
class SavedMemoryFile:
    """All of it; `seals` as F_GET_SEALS gives them."""

    name: bytes
    content: bytes
    offset: int
    seals: int


class MemoryFile(HostFile):
    """An open one."""

    kind = "memfd"

    def name(self) -> bytes:
        real = os.fsencode(os.readlink(f"/proc/self/fd/{self.descriptor}"))
        return real if real.startswith(b"/memfd:") else b"/memfd:"

    def may_be_reached(self) -> None:
        """It is in no folder."""

    @linux_errors
    def seals(self) -> int:
        """F_GET_SEALS."""
        return fcntl.fcntl(self.descriptor, fcntl.F_GET_SEALS)

    @linux_errors
    def add_seals(self, seals: int) -> int:
        """F_ADD_SEALS."""
        return fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, seals)

    def save(self) -> Any:
        name = self.name().removeprefix(b"/memfd:").removesuffix(b" (deleted)")
        content = b"".join(os.pread(self.descriptor, 1 << 20, at) for at in range(0, self.size(), 1 << 20))
        return SavedMemoryFile(name, content, os.lseek(self.descriptor, 0, os.SEEK_CUR), self.seals())

    def after_load(self, state: Any) -> None:
        os.lseek(self.descriptor, state.offset, os.SEEK_SET)


@linux_errors
def new_memory_file(name: bytes, may_seal: bool, flags: int, disk: Disk) -> MemoryFile:
    """A new one, empty."""
    how = os.MFD_CLOEXEC | (os.MFD_ALLOW_SEALING if may_seal else 0)
    descriptor = os.memfd_create(os.fsdecode(name), how)
    must_be_spare(descriptor)
    return MemoryFile(descriptor, flags, disk)


@linux_errors
def memory_file_again(saved: SavedMemoryFile, flags: int, disk: Disk) -> MemoryFile:
    """One that was saved."""
    file = new_memory_file(saved.name, True, flags, disk)
    data = memoryview(saved.content)
    while data:
        data = data[os.write(file.descriptor, data) :]
    fcntl.fcntl(file.descriptor, fcntl.F_ADD_SEALS, saved.seals)
    return file
