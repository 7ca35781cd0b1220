"""signalfd: signals that are read from a file. They are those of the reading process."""

from errno import EINVAL
from typing import Any

from pltvm.host.linux import signals
from pltvm.host.linux.arguments import signed32
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import READABLE, File
from pltvm.host.linux.process import SignalInfo, Thread
from pltvm.host.linux.structs import SIGNALFD_SIGINFO, SignalfdSiginfo
from pltvm.host.linux.system import System
from pltvm.host.linux.waits import Key

KIND = "signalfd"


class SignalFile(File):
    """Takes pending signals of `mask`."""

    kind = KIND
    mode = 0o600

    def __init__(self, system: System, mask: int, flags: int) -> None:
        super().__init__(flags)
        self._system = system
        self.mask = mask

    @property
    def _reader(self) -> Thread | None:
        return self._system.scheduler.current

    def set_mask(self, mask: int) -> None:
        """Read these signals from now on."""
        self.mask = mask
        if self._reader is not None:
            self._system.wake(("signal", self._reader.process.pid))

    def read(self, size: int) -> bytes:
        most = size // SIGNALFD_SIGINFO.size
        reader = self._reader
        if not most or reader is None:
            raise LinuxError(EINVAL)
        parts: list[bytes] = []
        while len(parts) < most and (info := signals.take(reader, self.mask)) is not None:
            parts.append(SIGNALFD_SIGINFO.pack(_told(info)))
        if not parts:
            self.wait()
        return b"".join(parts)

    def events(self) -> int:
        reader = self._reader
        if reader is None:
            return 0
        pending = signals.mask_of(reader.state.pending) | signals.mask_of(reader.process.state.pending)
        return READABLE if pending & self.mask else 0

    def keys(self) -> tuple[Key, ...]:
        reader = self._reader
        return (("signal", reader.process.pid),) if reader is not None else ()

    def save(self) -> Any:
        return self.mask


def _told(info: SignalInfo) -> SignalfdSiginfo:
    """Return a signal in the form for readers; fields of other kinds of signals are 0."""
    number, code, value = info.number, info.code, info.value
    child = number == signals.SIGCHLD and code > 0
    return SignalfdSiginfo(
        number=number,
        error=0,
        code=code,
        pid=info.pid,
        uid=info.uid,
        fd=0,
        timer=info.timer if code == signals.SI_TIMER else 0,
        band=0,
        overrun=info.overrun if code == signals.SI_TIMER else 0,
        trap=0,
        status=value if child else 0,
        value=0 if child else signed32(value),
        pointer=0 if child else value & (1 << 64) - 1,
        user=0,
        system=0,
        address=info.address,
    )


def offer(system: System) -> None:
    """Register the maker of these files for restores."""
    system.open_files.makers[KIND] = lambda mask, flags: SignalFile(system, mask, flags)
