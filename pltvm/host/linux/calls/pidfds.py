"""Files that stand for processes: `pid_file` has them."""

from errno import EBADF, EINVAL, EPERM, ESRCH
from typing import Annotated

from pltvm.host.linux import signals
from pltvm.host.linux.arguments import Address, Fd, Flags, Int, Unsigned
from pltvm.host.linux.calls.signals import Signal, may_get, queued, sent_by
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import File
from pltvm.host.linux.open_flags import O_NONBLOCK, O_RDWR
from pltvm.host.linux.pid_file import PidFile
from pltvm.host.linux.process import Thread
from pltvm.host.linux.system import System
from pltvm.host.linux.table import system_call


@system_call(434)
def pidfd_open(
    system: System, thread: Thread, pid: Int, flags: Annotated[int, Flags({"PIDFD_NONBLOCK": O_NONBLOCK})]
) -> int:
    """Open a process."""
    if pid <= 0:
        raise LinuxError(EINVAL)
    if pid not in system.processes:
        raise LinuxError(EINVAL if pid in system.scheduler.threads else ESRCH)
    file = PidFile(system, pid, O_RDWR | flags)
    thread.process.free_descriptor()
    return thread.process.add(system.add_file(file), closes=True)


def _pidfd(file: File) -> PidFile:
    if not isinstance(file, PidFile):
        raise LinuxError(EBADF)
    return file


@system_call(424)
def pidfd_send_signal(
    system: System, thread: Thread, file: Fd, number: Signal, info: Address, flags: Unsigned
) -> int:
    """Send a signal to a process, with a siginfo or without one."""
    if flags:
        raise LinuxError(EINVAL)
    process = _pidfd(file).process()
    if info:
        sent = queued(thread, number, info, process is not thread.process)
    else:
        sent = sent_by(thread, number, signals.SI_USER)
    if not may_get(thread, process, number):
        raise LinuxError(EPERM)
    signals.send(system, process, sent)
    return 0


@system_call(438)
def pidfd_getfd(system: System, thread: Thread, file: Fd, descriptor: Int, flags: Unsigned) -> int:
    """Duplicate a descriptor of another process."""
    if flags:
        raise LinuxError(EINVAL)
    return thread.process.add(_pidfd(file).process().file(descriptor), closes=True)
