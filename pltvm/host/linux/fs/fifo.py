"""A FIFO that was found by its name. It is never opened on the disk: a pipe of ours stands for it."""

from typing import Any

from pltvm.host.linux.files.file import File, Status


class Fifo(File):
    """What a walk has found; `calls.fifos` opens it. `status` is that of the file on the disk."""

    kind = "fifo"

    def __init__(self, status: Status, flags: int) -> None:
        super().__init__(flags)
        self.mode = status.mode
        self._status = status

    @property
    def inode(self) -> int:
        """Its number, by which there is one pipe."""
        return self._status.inode

    def status(self) -> Status:
        return self._status

    def save(self) -> Any:
        return None
