"""/dev/shm: names of files in memory, as made by shm_open and sem_open. It has no subfolders."""

import stat
from collections.abc import Callable
from errno import EINVAL, ENAMETOOLONG
from typing import Final

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import File, Status
from pltvm.host.linux.files.memory_file import Memory, MemoryFile, MemoryFiles
from pltvm.host.linux.fs.nodes import Folder, Node

DEVICE: Final = 7  # st_dev
_LONGEST: Final = 255


class SharedFile(Node):
    """A name in /dev/shm."""

    def __init__(self, path: bytes, files: MemoryFiles, memory: Memory, state: Callable[[Memory], Status]):
        super().__init__(path)
        self.memory = memory
        self._files = files
        self._state = state

    @property
    def mode(self) -> int:  # type: ignore[override]
        return self.status().mode

    @property
    def itself(self) -> str:
        """A path of this process to the file."""
        return f"/proc/self/fd/{self.memory.descriptor}"

    def status(self) -> Status:
        return self._state(self.memory)

    def open(self, flags: int) -> File:
        return self._files.open(self.memory, flags)


class SharedFolder(Folder):
    """The folder itself. `state` returns a file's attributes for programs, `made` notes the mode of a new
    file."""

    mode = stat.S_IFDIR | 0o1777

    def __init__(
        self,
        files: MemoryFiles,
        state: Callable[[Memory], Status],
        made: Callable[[Memory, int], None],
    ) -> None:
        super().__init__(b"/dev/shm", self._find, lambda: list(files.names))
        self._files = files
        self._state = state
        self._made = made

    def status(self) -> Status:
        return super().status()._replace(device=DEVICE)

    def _find(self, name: bytes) -> Node | None:
        memory = self._files.names.get(name)
        return None if memory is None else SharedFile(self.path_of(name), self._files, memory, self._state)

    def make(self, name: bytes, flags: int, mode: int) -> MemoryFile:
        """Make and open a file."""
        _check(name)
        memory = self._files.new(name, may_seal=False)
        self._made(memory, mode)
        self._files.give_name(name, memory)
        return self._files.open(memory, flags)

    def give_name(self, node: SharedFile, name: bytes) -> None:
        """Give another name to one of its files, replacing the file that has it."""
        _check(name)
        self._files.give_name(name, node.memory)

    def remove(self, name: bytes) -> None:
        """Remove a name."""
        self._files.take_name(name)

    def swap(self, one: bytes, other: bytes) -> None:
        """Exchange two names."""
        names = self._files.names
        names[one], names[other] = names[other], names[one]


def _check(name: bytes) -> None:
    if len(name) > _LONGEST:
        raise LinuxError(ENAMETOOLONG)
    if not name or b"\0" in name:
        raise LinuxError(EINVAL)
