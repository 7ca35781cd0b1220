"""Locks of files: flock, and those of fcntl."""

from errno import EAGAIN, EBADF, EDEADLK, EINVAL, EOVERFLOW
from typing import Annotated, Final

from pltvm.host.linux.arguments import Fd, Flags
from pltvm.host.linux.calls.at import not_only_a_path
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import File
from pltvm.host.linux.fs.locks import END, Lock, Owner, flock_key, key_of, range_key
from pltvm.host.linux.open_flags import O_ACCESS, O_RDONLY, O_WRONLY
from pltvm.host.linux.process import Thread
from pltvm.host.linux.structs import FLOCK, Flock
from pltvm.host.linux.system import System
from pltvm.host.linux.table import system_call
from pltvm.host.linux.waits import Blocked

_SH, _EX, _NB, _UN = 1, 2, 4, 8
F_GETLK, F_SETLK, F_SETLKW = 5, 6, 7
F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW = 36, 37, 38
_RDLCK, _WRLCK, _UNLCK = 0, 1, 2
COMMANDS: Final = (F_GETLK, F_SETLK, F_SETLKW, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW)
_OF_FILE: Final = (F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW)
_GETTING: Final = (F_GETLK, F_OFD_GETLK)
_WAITING: Final = (F_SETLKW, F_OFD_SETLKW)


@system_call(32)
def flock(
    system: System,
    thread: Thread,
    file: Fd,
    operation: Annotated[int, Flags({"LOCK_SH": _SH, "LOCK_EX": _EX, "LOCK_NB": _NB, "LOCK_UN": _UN})],
) -> int:
    """Lock a whole file, for all descriptors of this open file."""
    what = operation & ~_NB
    if what not in (_SH, _EX, _UN):
        raise LinuxError(EINVAL)
    not_only_a_path(file)
    if what == _UN:
        system.locks.unlock_whole(file)
    elif not system.locks.lock_whole(file, what == _EX):
        if operation & _NB:
            raise LinuxError(EAGAIN)
        raise Blocked(flock_key(key_of(file)))
    return 0


def lock_range(system: System, thread: Thread, file: File, command: int, address: int) -> int:
    """fcntl: get, set or wait for a lock of a range."""
    given = FLOCK.unpack(thread.space.read(address, FLOCK.size))
    of_file, pid = command in _OF_FILE, thread.process.pid
    if of_file and given.pid:
        raise LinuxError(EINVAL)
    start, end = _range(file, given)
    owner: Owner = ("file", file.number) if of_file else ("process", pid)
    if given.type not in (_RDLCK, _WRLCK) and (given.type != _UNLCK or command in _GETTING):
        raise LinuxError(EINVAL)
    wanted, key = Lock(start, end, given.type == _WRLCK, owner), key_of(file)
    if command in _GETTING:
        thread.space.write(address, FLOCK.pack(_found(given, system.locks.conflict(key, wanted))))
        return 0
    if given.type == _UNLCK:
        system.locks.unset(key, wanted)
        return 0
    if file.flags & O_ACCESS == (O_RDONLY if wanted.writes else O_WRONLY):
        raise LinuxError(EBADF)
    conflict = system.locks.conflict(key, wanted)
    if conflict is None:
        system.locks.set(key, wanted)
        return 0
    if command not in _WAITING:
        raise LinuxError(EAGAIN)
    if not of_file and _waits_for(system, conflict.owner, owner):
        raise LinuxError(EDEADLK)
    raise Blocked(range_key(key), ("lock of", *conflict.owner))


def _range(file: File, given: Flock) -> tuple[int, int]:
    """Return start and end of a lock, in bytes from the start of the file."""
    if given.whence not in (0, 1, 2):
        raise LinuxError(EINVAL)
    start = given.start
    if given.whence == 1:
        start += file.seek(0, 1)
    elif given.whence == 2:
        start += file.status().size
    end = start + given.length if given.length else END
    if given.length < 0:
        start, end = end, start
    if start < 0:
        raise LinuxError(EINVAL)
    if end > END:
        raise LinuxError(EOVERFLOW)
    return start, end


def _found(given: Flock, conflict: Lock | None) -> Flock:
    if conflict is None:
        return given._replace(type=_UNLCK)
    pid = conflict.owner[1] if conflict.owner[0] == "process" else -1
    length = 0 if conflict.end == END else conflict.end - conflict.start
    return Flock(_WRLCK if conflict.writes else _RDLCK, 0, conflict.start, length, pid)


def _waits_for(system: System, one: Owner, other: Owner) -> bool:
    """Whether `one` waits, directly or indirectly, for a lock of `other`: that would be a deadlock."""
    seen, todo = {one}, [one]
    while todo:
        kind, pid = todo.pop()
        process = system.processes.get(pid) if kind == "process" else None
        for thread in process.threads.values() if process is not None else ():
            for key in thread.state.wait.keys if thread.state.wait is not None else ():
                if key[0] != "lock of" or thread not in system.scheduler.waiters(key):  # it was woken
                    continue
                held_by: Owner = (str(key[1]), int(str(key[2])))
                if held_by == other:
                    return True
                if held_by not in seen:
                    seen.add(held_by)
                    todo.append(held_by)
    return False
