"""A FIFO found by its name. It is never opened on the disk: an internal pipe replaces it."""

from typing import Any

from pltvm.host.linux.files.file import File, Status


class Fifo(File):
    """The FIFO that a walk has found; `calls.fifos` opens it. `status` is that of the file on the disk."""

    kind = "fifo"

    def __init__(self, status: Status, flags: int) -> None:
        super().__init__(flags)
        self.mode = status.mode
        self._status = status

    @property
    def inode(self) -> int:
        """Its inode number; there is one pipe for it."""
        return self._status.inode

    def status(self) -> Status:
        return self._status

    def save(self) -> Any:
        return None
