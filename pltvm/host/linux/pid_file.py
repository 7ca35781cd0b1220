"""pidfd: a file that stands for a process, and is ready once that has ended: `life.end` wakes its key."""

from errno import ESRCH
from typing import Any

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import READABLE, File
from pltvm.host.linux.process import Process
from pltvm.host.linux.system import System
from pltvm.host.linux.waits import Key

KIND = "pidfd"


class PidFile(File):
    """The process `pid`; its number is not used again."""

    kind = KIND
    mode = 0o600

    def __init__(self, system: System, pid: int, flags: int) -> None:
        super().__init__(flags)
        self._system = system
        self.pid = pid

    def process(self) -> Process:
        """Return the process; raises LinuxError(ESRCH) if it has ended."""
        process = self._system.processes.get(self.pid)
        if process is None or not process.alive:
            raise LinuxError(ESRCH)
        return process

    def events(self) -> int:
        process = self._system.processes.get(self.pid)
        return 0 if process is not None and process.alive else READABLE

    def keys(self) -> tuple[Key, ...]:
        return (("pidfd", self.pid),)

    def save(self) -> Any:
        return self.pid


def offer(system: System) -> None:
    """Register the maker of these files for restores."""
    system.open_files.makers[KIND] = lambda pid, flags: PidFile(system, pid, flags)
