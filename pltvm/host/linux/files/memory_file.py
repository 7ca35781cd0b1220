"""Files in memory: of memfd_create, and those with a name in /dev/shm (`fs.shm`).

Each is a memfd of the real system, so that it can be mapped and sealed like others. It exists as long as it
is open or has a name. Snapshots save its content.
"""

import fcntl
import os
import stat
from dataclasses import dataclass, field
from errno import ENOENT
from typing import Any, Final

from pltvm.host.linux.errors import LinuxError, linux_errors
from pltvm.host.linux.files.file import Status
from pltvm.host.linux.files.host import Disk, HostFile, Key, must_be_spare, real_flags
from pltvm.host.linux.open_flags import O_PATH

PART: Final = 1 << 20
F_SEAL_WRITE, F_SEAL_FUTURE_WRITE = 8, 16
SEALS_OF_WRITES: Final = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE


@dataclass(slots=True)
class Memory:
    """One file: its descriptor, the number of open files and names, and the number of names alone."""

    number: int
    name: bytes
    descriptor: int
    key: Key
    users: int = 0
    names: int = 0


@dataclass(frozen=True, slots=True)
class SavedMemory:
    """The saved state of one file; `seals` as for F_GET_SEALS."""

    number: int
    name: bytes
    key: Key
    content: bytes
    mode: int
    seals: int


@dataclass(slots=True)
class MemoryFilesState:
    """All files, the names in /dev/shm, and the number of the next file."""

    files: list[SavedMemory] = field(default_factory=list)
    names: dict[bytes, int] = field(default_factory=dict)
    next_number: int = 1


class MemoryFiles:
    """All files in memory, by number; `names` are those in /dev/shm."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._files: dict[int, Memory] = {}
        self._next = 1
        self.names: dict[bytes, Memory] = {}

    @linux_errors
    def new(self, name: bytes, may_seal: bool) -> Memory:
        """Make an empty file without users."""
        memory = self._make(self._next, name, may_seal)
        self._next += 1
        return memory

    def _make(self, number: int, name: bytes, may_seal: bool) -> Memory:
        how = os.MFD_CLOEXEC | (os.MFD_ALLOW_SEALING if may_seal else 0)
        descriptor = os.memfd_create(os.fsdecode(name), how)
        must_be_spare(descriptor)
        info = os.fstat(descriptor)
        memory = Memory(number, name, descriptor, (info.st_dev, info.st_ino))
        self._files[number] = memory
        return memory

    @linux_errors
    def open(self, memory: Memory, flags: int) -> "MemoryFile":
        """Open a file."""
        try:
            descriptor = os.open(f"/proc/self/fd/{memory.descriptor}", real_flags(flags))
            must_be_spare(descriptor)
        except (OSError, LinuxError):
            self._drop(memory)
            raise
        return MemoryFile(self, memory, descriptor, flags, self._disk).emptied(flags)

    def again(self, state: tuple[int, int], flags: int) -> "MemoryFile":
        """Open a saved file again, after `load`."""
        return self.open(self._files[state[0]], flags)

    # -- names -------------------------------------------------------------------------------------------

    def give_name(self, name: bytes, memory: Memory) -> None:
        """Give a file a name, replacing the file that has it."""
        memory.users += 1
        memory.names += 1
        if name in self.names:
            self.take_name(name)
        self.names[name] = memory

    def take_name(self, name: bytes) -> None:
        """Remove a name; raises LinuxError(ENOENT)."""
        memory = self.names.pop(name, None)
        if memory is None:
            raise LinuxError(ENOENT)
        memory.names -= 1
        self.leave(memory)

    def leave(self, memory: Memory) -> None:
        """Remove one user of a file."""
        memory.users -= 1
        self._drop(memory)

    def _drop(self, memory: Memory) -> None:
        """Remove a file without users, and free its room."""
        if memory.users <= 0 and self._files.get(memory.number) is memory:
            del self._files[memory.number]
            os.close(memory.descriptor)
            self._disk.gone(memory.key)

    def close(self) -> None:
        """Close all files."""
        for memory in self._files.values():
            os.close(memory.descriptor)
        self._files, self.names = {}, {}

    def keys(self) -> set[Key]:
        """Return the keys of the real files."""
        return {one.key for one in self._files.values()}

    # -- snapshots ---------------------------------------------------------------------------------------

    def save(self) -> MemoryFilesState:
        """Return all files as plain data."""
        files = [
            SavedMemory(
                one.number,
                one.name,
                one.key,
                _content(one.descriptor),
                os.fstat(one.descriptor).st_mode,
                fcntl.fcntl(one.descriptor, fcntl.F_GET_SEALS),
            )
            for one in self._files.values()
        ]
        return MemoryFilesState(files, {name: one.number for name, one in self.names.items()}, self._next)

    def load(self, saved: MemoryFilesState) -> dict[Key, Key]:
        """Restore saved files, not open yet; return the new key for each old one."""
        self.close()
        self._next, keys = saved.next_number, {}
        for one in saved.files:
            memory = self._make(one.number, one.name, may_seal=True)
            keys[one.key] = memory.key
            data = memoryview(one.content)
            while data:
                data = data[os.write(memory.descriptor, data) :]
            os.fchmod(memory.descriptor, stat.S_IMODE(one.mode))
            fcntl.fcntl(memory.descriptor, fcntl.F_ADD_SEALS, one.seals)
        for name, number in saved.names.items():
            self.give_name(name, self._files[number])
        return keys


def _content(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    return b"".join(os.pread(descriptor, PART, at) for at in range(0, size, PART))


class MemoryFile(HostFile):
    """An open file in memory."""

    kind = "memfd"

    def __init__(self, files: MemoryFiles, memory: Memory, descriptor: int, flags: int, disk: Disk) -> None:
        super().__init__(descriptor, flags, disk)
        self._files = files
        self.memory = memory
        memory.users += 1

    def name(self) -> bytes:
        names = [name for name, one in self._files.names.items() if one is self.memory]
        if names:
            return b"/dev/shm/" + names[0]
        return b"/memfd:" + self.memory.name + b" (deleted)"

    def may_be_reached(self) -> None:
        """Do nothing, as it is in no folder."""

    def status(self) -> Status:
        return super().status()._replace(links=self.memory.names)

    def again(self, flags: int) -> HostFile:
        return self._files.open(self.memory, flags)

    def close(self) -> None:
        super().close()
        self._files.leave(self.memory)

    @linux_errors
    def seals(self) -> int:
        """Do F_GET_SEALS."""
        return fcntl.fcntl(self.descriptor, fcntl.F_GET_SEALS)

    @linux_errors
    def add_seals(self, seals: int) -> int:
        """Do F_ADD_SEALS."""
        return fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, seals)

    def save(self) -> Any:
        return self.memory.number, 0 if self.flags & O_PATH else os.lseek(self.descriptor, 0, os.SEEK_CUR)

    def after_load(self, state: Any) -> None:
        if not self.flags & O_PATH:
            os.lseek(self.descriptor, state[1], os.SEEK_SET)
