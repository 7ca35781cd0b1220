"""The end of a walk: a name in an open folder, and the file that had it at that moment."""

import os
import stat
from dataclasses import dataclass
from errno import ENOENT, EPERM
from types import TracebackType

from pltvm.host.linux.errors import LinuxError, linux_errors
from pltvm.host.linux.fs.nodes import Node


@dataclass
class Place:
    """The end of a path: `name` in the open folder `folder`, and the file that was there at that moment.

    `found` is its descriptor (O_PATH) and `info` its attributes, both None if nothing was there. A path that
    ends in the folder itself has the name `.`. If `node` is set, that internal file was found; if nothing was
    found in a folder of nodes, `above` is that folder. `folder` is −1 without a folder on the disk.
    Descriptors are closed at the end of a `with`.
    """

    folder: int
    name: bytes
    found: int | None = None
    info: os.stat_result | None = None
    node: Node | None = None
    above: Node | None = None

    @property
    def kind(self) -> int:
        """The kind of the file, as S_IFREG …; raises LinuxError(ENOENT)."""
        return stat.S_IFMT(self.node.status().mode if self.node is not None else self.state.st_mode)

    @property
    def where(self) -> int:
        """The folder, to make or remove the name in it; raises LinuxError if it is not on the disk."""
        if self.node is not None:
            raise LinuxError(EPERM)
        if self.folder < 0:
            raise LinuxError(ENOENT if self.above is None else EPERM)
        return self.folder

    @property
    def state(self) -> os.stat_result:
        """The attributes of the file on the disk; raises LinuxError(ENOENT)."""
        if self.info is None:
            raise LinuxError(ENOENT if self.node is None else EPERM)
        return self.info

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode of the file; (0, 0) if nothing was found."""
        return (self.info.st_dev, self.info.st_ino) if self.info is not None else (0, 0)

    @property
    def itself(self) -> str:
        """Return a path of this process to exactly the file found, whatever has its name by now."""
        return f"/proc/self/fd/{self.found}"

    @linux_errors
    def link(self) -> bytes:
        """Return the target of the link found."""
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
