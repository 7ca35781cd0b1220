"""Where a walk ends: a name in an open folder, and what had it when the walk came by."""

import os
import stat
from dataclasses import dataclass
from errno import ENOENT, EPERM
from types import TracebackType

from pltvm.host.linux.errors import LinuxError, linux_errors
from pltvm.host.linux.fs.nodes import Node


@dataclass
class Place:
    """Where a path ends: `name` in the open folder `folder`, and what was there when the walk came by.

    `found` is its descriptor (O_PATH) and `info` its state, both None when nothing was there. A path that
    ends in the folder itself has the name `.`. Where nothing is in a folder of nodes, that is `above`. With a
    `node` that is what was found, on no disk; `folder` is
    −1 where there is none on the disk. Descriptors are closed at the end of a `with`.
    """

    folder: int
    name: bytes
    found: int | None = None
    info: os.stat_result | None = None
    node: Node | None = None
    above: Node | None = None

    @property
    def kind(self) -> int:
        """What is there, as S_IFREG …; raises LinuxError(ENOENT)."""
        return stat.S_IFMT(self.node.status().mode if self.node is not None else self.state.st_mode)

    @property
    def where(self) -> int:
        """The folder, to make or remove the name in it; raises LinuxError where it is not on the disk."""
        if self.node is not None:
            raise LinuxError(EPERM)
        if self.folder < 0:
            raise LinuxError(ENOENT if self.above is None else EPERM)
        return self.folder

    @property
    def state(self) -> os.stat_result:
        """The state of what is there on the disk; raises LinuxError(ENOENT)."""
        if self.info is None:
            raise LinuxError(ENOENT if self.node is None else EPERM)
        return self.info

    @property
    def identity(self) -> tuple[int, int]:
        """Which file it is, by device and inode; nothing where nothing is."""
        return (self.info.st_dev, self.info.st_ino) if self.info is not None else (0, 0)

    @property
    def itself(self) -> str:
        """A path of this process to exactly what was found, whatever has its name by now."""
        return f"/proc/self/fd/{self.found}"

    @linux_errors
    def link(self) -> bytes:
        """Where the link that was found points to."""
        return os.readlink(b"", dir_fd=self.found)

    def __enter__(self) -> "Place":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.folder >= 0:
            os.close(self.folder)
        if self.found is not None:
            os.close(self.found)
