"""The content of files as a whole: size and allocation, on disk and in memory; and syncing."""

from errno import EBUSY, EFBIG, EINVAL, ENODEV, ESPIPE
from typing import Annotated, Final

from pltvm.host.linux import signals
from pltvm.host.linux.arguments import Fd, Flags, Int, Path, Signed, Text, Word
from pltvm.host.linux.calls.at import not_only_a_path
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import File
from pltvm.host.linux.files.host import HostFile
from pltvm.host.linux.files.memory_file import F_SEAL_WRITE, MemoryFile
from pltvm.host.linux.files.pipe import PipeEnd
from pltvm.host.linux.open_flags import O_RDWR
from pltvm.host.linux.process import Limit, Thread
from pltvm.host.linux.system import System
from pltvm.host.linux.table import system_call

_LONGEST_NAME: Final = 249  # bytes of a memfd's name, as on Linux
F_ADD_SEALS, F_GET_SEALS = 1033, 1034


def _may_reach(system: System, thread: Thread, size: int) -> None:
    """Raise LinuxError(EFBIG), with SIGXFSZ, for a size that RLIMIT_FSIZE forbids."""
    if size > thread.process.limit(Limit.FSIZE):
        signals.send_own(system, thread, signals.SIGXFSZ)
        raise LinuxError(EFBIG)


@system_call(46)
def ftruncate(system: System, thread: Thread, file: Fd, size: Signed) -> int:
    """Set the length of an open file."""
    _may_reach(system, thread, size)
    file.truncate(size)
    return 0


@system_call(45)
def truncate(system: System, thread: Thread, path: Path, size: Signed) -> int:
    """Set the length of the file at a path."""
    if size < 0:
        raise LinuxError(EINVAL)
    _may_reach(system, thread, size)
    file = system.fs.open(thread.process.folder, path, 1, 0)
    try:
        file.truncate(size)
    finally:
        file.close()
    return 0


@system_call(47)
def fallocate(system: System, thread: Thread, file: Fd, mode: Int, offset: Signed, size: Signed) -> int:
    """Allocate room in a file, or make holes; not for files that are on no disk."""
    not_only_a_path(file)
    if isinstance(file, PipeEnd):
        raise LinuxError(ESPIPE)
    if not isinstance(file, HostFile):
        raise LinuxError(ENODEV)
    if not mode & 1:
        _may_reach(system, thread, offset + size)
    file.allocate(mode, offset, size)
    return 0


_ADVICE: Final = range(6)


@system_call(223)
def fadvise64(system: System, thread: Thread, file: Fd, offset: Signed, size: Signed, advice: Int) -> int:
    """Accept advice on how a file will be read; it has no effect."""
    not_only_a_path(file)
    if isinstance(file, PipeEnd):
        raise LinuxError(ESPIPE)
    if advice not in _ADVICE or size < 0:
        raise LinuxError(EINVAL)
    return 0


@system_call(213)
def readahead(system: System, thread: Thread, file: Fd, offset: Signed, size: Word) -> int:
    """Nothing to do."""
    file.must_read()
    if not isinstance(file, HostFile) or file.is_folder:
        raise LinuxError(EINVAL)
    return 0


@system_call(81)
def sync(system: System, thread: Thread) -> int:
    """Nothing to do: writes are not held back."""
    return 0


@system_call(267)
def syncfs(system: System, thread: Thread, file: Fd) -> int:
    """Likewise."""
    not_only_a_path(file)
    return 0


@system_call(84)
def sync_file_range(
    system: System,
    thread: Thread,
    file: Fd,
    offset: Signed,
    size: Signed,
    flags: Annotated[int, Flags({"WAIT_BEFORE": 1, "WRITE": 2, "WAIT_AFTER": 4})],
) -> int:
    """Likewise."""
    not_only_a_path(file)
    if isinstance(file, PipeEnd):
        raise LinuxError(ESPIPE)
    if offset < 0 or size < 0:
        raise LinuxError(EINVAL)
    return 0


# -- files in memory -----------------------------------------------------------------------------------------

_MFD: Final = {"MFD_CLOEXEC": 1, "MFD_ALLOW_SEALING": 2, "MFD_NOEXEC_SEAL": 8, "MFD_EXEC": 16}


@system_call(279)
def memfd_create(
    system: System,
    thread: Thread,
    name: Annotated[bytes, Text()],
    flags: Annotated[int, Flags(_MFD)],
) -> int:
    """Make a file in memory that is in no folder, and that ends when it is closed."""
    if len(name) > _LONGEST_NAME or flags & 24 == 24:
        raise LinuxError(EINVAL)
    thread.process.free_descriptor()
    memory = system.fs.memory
    file = memory.open(memory.new(name, bool(flags & 10)), O_RDWR)
    system.fs.marks.made(file.info(), 0o777)
    system.add_file(file)
    return thread.process.add(file, bool(flags & 1))


def seals(system: System, file: File, command: int, argument: int) -> int:
    """fcntl: get or add seals, which forbid changes of a file in memory."""
    if not isinstance(file, MemoryFile):
        raise LinuxError(EINVAL)
    if command != F_ADD_SEALS:
        return file.seals()
    if argument & F_SEAL_WRITE and not file.seals() & F_SEAL_WRITE and _can_be_stored_to(system, file):
        raise LinuxError(EBUSY)
    return file.add_seals(argument & 0xFFFF_FFFF)


def _can_be_stored_to(system: System, file: MemoryFile) -> bool:
    """Whether a process has a shared mapping of the file that may be writable."""
    number = system.objects.find(file.key)
    areas = (one for process in system.processes.values() for one in process.space.state.areas)
    return bool(number) and any(one.object == number and not one.copies and one.may_write for one in areas)
