"""Memory: mapping, moving, protecting, and advice."""

from errno import EACCES, EEXIST, EINVAL, ENODEV, ENOMEM, EOPNOTSUPP, EOVERFLOW, EPERM
from typing import Annotated, Final

from pltvm.engine.memory import PAGE, pages_for
from pltvm.host.linux.areas import NOT_IN_CHILD, WIPED_IN_CHILD
from pltvm.host.linux.arguments import Address, Choice, Flags, Int, Unsigned, Word
from pltvm.host.linux.enclave_file import EnclaveFile
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import File
from pltvm.host.linux.files.host import LARGEST_OFFSET, HostFile
from pltvm.host.linux.files.memory_file import SEALS_OF_WRITES, MemoryFile
from pltvm.host.linux.moving import mremap as move
from pltvm.host.linux.open_flags import O_ACCESS, O_RDWR, O_WRONLY
from pltvm.host.linux.process import Limit, Process, Thread
from pltvm.host.linux.program import BREAK_LIMIT, shown
from pltvm.host.linux.requests import PATH
from pltvm.host.linux.space import EXEC, READ, USER_END, WRITE, within
from pltvm.host.linux.system import System
from pltvm.host.linux.table import system_call

MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE, MAP_TYPE = 1, 2, 3, 0xF
MAP_FIXED, MAP_ANONYMOUS, MAP_HUGETLB, MAP_FIXED_NOREPLACE = 0x10, 0x20, 0x40000, 0x100000
_MAP: Final = {
    "MAP_SHARED": 1, "MAP_PRIVATE": 2, "MAP_FIXED": 0x10, "MAP_ANONYMOUS": 0x20, "MAP_GROWSDOWN": 0x100,
    "MAP_DENYWRITE": 0x800, "MAP_EXECUTABLE": 0x1000, "MAP_LOCKED": 0x2000, "MAP_NORESERVE": 0x4000,
    "MAP_POPULATE": 0x8000, "MAP_NONBLOCK": 0x10000, "MAP_STACK": 0x20000, "MAP_HUGETLB": 0x40000,
    "MAP_SYNC": 0x80000, "MAP_FIXED_NOREPLACE": 0x100000,
}  # fmt: skip
_ALL: Final = READ | WRITE | EXEC
_PROT: Final = {"PROT_READ": READ, "PROT_WRITE": WRITE, "PROT_EXEC": EXEC}
_DONTNEED, _FREE, _DONTNEED_LOCKED = 4, 8, 24
_WIPE: Final = 18
_AT_FORK: Final = {  # advice: the bits that it sets in `Area.at_fork`, and those that it keeps
    10: (NOT_IN_CHILD, WIPED_IN_CHILD),
    11: (0, WIPED_IN_CHILD),
    _WIPE: (WIPED_IN_CHILD, NOT_IN_CHILD),
    19: (0, NOT_IN_CHILD),
}
_ADVICE: Final = {
    "MADV_NORMAL": 0, "MADV_RANDOM": 1, "MADV_SEQUENTIAL": 2, "MADV_WILLNEED": 3, "MADV_DONTNEED": 4,
    "MADV_FREE": 8, "MADV_DONTFORK": 10, "MADV_DOFORK": 11, "MADV_MERGEABLE": 12, "MADV_UNMERGEABLE": 13,
    "MADV_HUGEPAGE": 14, "MADV_NOHUGEPAGE": 15, "MADV_DONTDUMP": 16, "MADV_DODUMP": 17, "MADV_WIPEONFORK": 18,
    "MADV_KEEPONFORK": 19,
    "MADV_COLD": 20, "MADV_PAGEOUT": 21, "MADV_DONTNEED_LOCKED": 24,
}  # fmt: skip


class _LooseFlags(Flags):
    """Flags whose unknown bits are ignored, as in Linux for these calls."""

    def decode(self, thread: Thread, value: int) -> int:
        return value & 0xFFFF_FFFF


_UNSUPPORTED: Final = ~sum(_MAP.values()) | _MAP["MAP_SYNC"]  # by every file here
Protection = Annotated[int, _LooseFlags(_PROT)]
MapFlags = Annotated[int, _LooseFlags(_MAP)]


@system_call(214)
def brk(system: System, thread: Thread, end: Address) -> int:
    """Move the end of the heap; return the resulting end."""
    space, state = thread.space, thread.space.state
    old = state.break_end
    if not state.break_start <= end <= state.break_start + BREAK_LIMIT:
        return old
    first, last = pages_for(old) * PAGE, pages_for(end) * PAGE
    try:
        if last > first:
            if space.overlaps(first, last):
                return old
            _must_fit(thread.process, last - first, READ | WRITE)
            if end - state.break_start > thread.process.limit(Limit.DATA):
                return old
            space.map(first, last - first, READ | WRITE, name="[heap]")
        elif last < first:
            space.unmap(last, first - last)
    except LinuxError:  # too many areas, or a limit
        return old
    state.break_end = end
    return end


def _must_fit(process: Process, more: int, prot: int, private: bool = True, data: int = 0) -> None:
    """Raise LinuxError(ENOMEM) if so many more bytes exceed a limit of the process.

    `data` of them count as data, or all if they are private and writable.
    """
    space, most, most_data = process.space, process.limit(Limit.AS), process.limit(Limit.DATA)
    if more and most < USER_END and space.size() + more > most:
        raise LinuxError(ENOMEM)
    data = data or (more if private and prot & WRITE else 0)
    if data and most_data < USER_END and space.data_size() + data > most_data:
        raise LinuxError(ENOMEM)


# -- mmap ----------------------------------------------------------------------------------------------------


@system_call(222)
def mmap(
    system: System,
    thread: Thread,
    address: Address,
    size: Word,
    prot: Protection,
    flags: MapFlags,
    descriptor: Int,
    offset: Word,
) -> int:
    """Map memory, a file, or memory that the enclave device has prepared."""
    process = thread.process
    length, prot = pages_for(size) * PAGE, prot & _ALL
    if not size or offset % PAGE or not MAP_SHARED <= flags & MAP_TYPE <= MAP_SHARED_VALIDATE:
        raise LinuxError(EINVAL)
    if length > USER_END - PAGE:
        raise LinuxError(ENOMEM)
    if offset + length > LARGEST_OFFSET:
        raise LinuxError(EOVERFLOW)
    file = None if flags & MAP_ANONYMOUS else process.file(descriptor)
    if flags & MAP_TYPE == MAP_SHARED_VALIDATE and (file is None or flags & _UNSUPPORTED):
        raise LinuxError(EINVAL if file is None else EOPNOTSUPP)
    address = _place(process, address, length, flags)
    private = flags & MAP_TYPE == MAP_PRIVATE
    there = process.space.size(address, address + length) if flags & MAP_FIXED else 0
    _must_fit(process, length - there, prot, private)
    if file is None or file.kind == "/dev/zero":
        return _anonymous(process, address, length, prot, flags)
    if isinstance(file, EnclaveFile):
        if prot & EXEC:
            raise LinuxError(EPERM)  # as on a file system without execution
        process.space.map(address, length, prot, file.pages_to_map(length), name=PATH)
        return address
    if not isinstance(file, HostFile) or file.is_folder:
        raise LinuxError(ENODEV)
    if file.flags & O_ACCESS == O_WRONLY:
        raise LinuxError(EACCES)
    return _file(process, address, length, prot, file, offset, private)


def _place(process: Process, address: int, length: int, flags: int) -> int:
    """Return the address for a mapping; raises LinuxError."""
    space = process.space
    if flags & (MAP_FIXED | MAP_FIXED_NOREPLACE):
        if address % PAGE:
            raise LinuxError(EINVAL)
        if address < PAGE:
            raise LinuxError(EPERM)
        if address > USER_END - length:
            raise LinuxError(ENOMEM)
        if flags & MAP_FIXED_NOREPLACE and space.overlaps(address, address + length):
            raise LinuxError(EEXIST)
        return address
    hint = pages_for(address) * PAGE
    if PAGE <= hint <= USER_END - length and not space.overlaps(hint, hint + length):
        return hint
    return space.place(length)


def _anonymous(process: Process, address: int, length: int, prot: int, flags: int) -> int:
    if flags & MAP_HUGETLB:
        raise LinuxError(ENOMEM)  # as on a system without reserved huge pages
    space, number = process.space, 0
    if flags & MAP_TYPE != MAP_PRIVATE:
        number = space.objects.anonymous(length)
    space.map(address, length, prot, object=number, name="/dev/zero (deleted)" if number else "")
    return address


def _name(file: File) -> str:
    """Return the path of a file as the process sees it, for /proc/PID/maps."""
    try:
        return shown(file.name())
    except LinuxError:
        return "(deleted)"


def _file(
    process: Process, address: int, length: int, prot: int, file: HostFile, offset: int, private: bool
) -> int:
    sealed = isinstance(file, MemoryFile) and file.seals() & SEALS_OF_WRITES
    writable = file.flags & O_ACCESS == O_RDWR and not private and not sealed
    if prot & WRITE and not (private or writable):
        raise LinuxError(EPERM if sealed else EACCES)
    objects = process.space.objects
    number = objects.of_file(file.descriptor, writable)
    with objects.kept(number):
        if not objects.of(number).writable:  # it can be restored without the file
            objects.fill(number, offset, length)
        process.space.map(
            address,
            length,
            prot,
            object=number,
            offset=offset,
            copies=private,
            may_write=private or writable,
            name=_name(file),
        )
    return address


# -- existing mappings ---------------------------------------------------------------------------------------


@system_call(215)
def munmap(system: System, thread: Thread, address: Address, size: Word) -> int:
    """Remove mappings."""
    if address % PAGE or not 0 < size <= USER_END or address + size > USER_END:
        raise LinuxError(EINVAL)
    thread.space.unmap(address, size)
    return 0


@system_call(216)
def mremap(
    system: System, thread: Thread, address: Address, old: Word, new: Word, flags: Unsigned, target: Address
) -> int:
    """Change the size or the address of a mapping."""
    return move(
        thread.space,
        address,
        old,
        new,
        flags,
        target,
        lambda area, more: _must_fit(thread.process, more, area.prot, area.is_private),
    )


@system_call(226)
def mprotect(
    system: System, thread: Thread, address: Address, size: Word, prot: Annotated[int, Flags(_PROT, 8)]
) -> int:
    """Change the protection of pages."""
    if address % PAGE:
        raise LinuxError(EINVAL)
    if size:
        _must_be_in_reach(address, size)
        if prot & WRITE:
            ranges = thread.space.areas(address, address + size)
            more = [one for one in ranges if one.is_private and not one.prot & WRITE]
            end = address + pages_for(size) * PAGE
            data = sum(min(one.end, end) - max(one.start, address) for one in more)
            _must_fit(thread.process, 0, 0, data=data)
        thread.space.protect(address, size, prot & _ALL)
    return 0


def _must_be_in_reach(address: int, size: int) -> None:
    if address + pages_for(size) * PAGE > USER_END:
        raise LinuxError(ENOMEM)


def _end_of(thread: Thread, address: int, size: int) -> tuple[int, bool]:
    """Return the end of a range that should be mapped, and whether all of it is mapped."""
    if address % PAGE:
        raise LinuxError(EINVAL)
    _must_be_in_reach(address, size)
    end = address + pages_for(size) * PAGE
    return end, thread.space.is_mapped(address, end)


@system_call(233)
def madvise(
    system: System, thread: Thread, address: Address, size: Word, advice: Annotated[int, Choice(_ADVICE)]
) -> int:
    """Drop pages (MADV_DONTNEED, MADV_FREE), or set what a child gets; other advice has no effect."""
    end, mapped = _end_of(thread, address, size)
    space = thread.space
    if advice in (_FREE, _WIPE) and not all(one.is_anonymous for one in space.areas(address, end)):
        raise LinuxError(EINVAL)
    if advice in _AT_FORK:
        space.at_fork(address, end - address, *_AT_FORK[advice])
    if advice in (_DONTNEED, _FREE, _DONTNEED_LOCKED):
        space.drop(address, end - address)
    if not mapped:
        raise LinuxError(ENOMEM)
    return 0


@system_call(227)
def msync(
    system: System,
    thread: Thread,
    address: Address,
    size: Word,
    flags: Annotated[int, Flags({"MS_ASYNC": 1, "MS_INVALIDATE": 2, "MS_SYNC": 4})],
) -> int:
    """Write changes of shared mappings to their files."""
    if flags & 5 == 5:
        raise LinuxError(EINVAL)
    end, mapped = _end_of(thread, address, size)
    thread.space.sync(address, end)
    if not mapped:
        raise LinuxError(ENOMEM)
    return 0


@system_call(232)
def mincore(system: System, thread: Thread, address: Address, size: Word, vector: Address) -> int:
    """Return which pages are present, one byte each."""
    end, mapped = _end_of(thread, address, size)
    if not mapped:
        raise LinuxError(ENOMEM)
    space = thread.space
    present = bytearray((end - address) // PAGE)
    for area in space.areas(address, end):
        low, high = max(area.start, address), min(area.end, end)
        if area.shared is not None:
            present[(low - address) // PAGE : (high - address) // PAGE] = b"\1" * ((high - low) // PAGE)
            continue
        if area.object:
            by = area.offset - area.start
            for page in within(space.objects.of(area.object).pages, low + by, high + by):
                present[(page - by - address) // PAGE] = 1
        for page in within(space.state.own, low, high):
            present[(page - address) // PAGE] = 1
    space.write(vector, bytes(present))
    return 0


@system_call(228, 229)
def mlock(system: System, thread: Thread, address: Address, size: Word) -> int:
    """Check that the range is mapped; all memory is locked in any case."""
    start = address & -PAGE
    if size and not _end_of(thread, start, address + size - start)[1]:
        raise LinuxError(ENOMEM)
    return 0


@system_call(284)
def mlock2(
    system: System,
    thread: Thread,
    address: Address,
    size: Word,
    flags: Annotated[int, Flags({"MLOCK_ONFAULT": 1})],
) -> int:
    """Likewise."""
    return mlock(system, thread, address, size)


@system_call(230)
def mlockall(
    system: System,
    thread: Thread,
    flags: Annotated[int, Flags({"MCL_CURRENT": 1, "MCL_FUTURE": 2, "MCL_ONFAULT": 4})],
) -> int:
    """Likewise."""
    if not flags & 3:
        raise LinuxError(EINVAL)
    return 0


@system_call(231)
def munlockall(system: System, thread: Thread) -> int:
    """Likewise."""
    return 0
