"""Attributes of files: state, access, permissions, owners, times; and of file systems."""

import os
import stat
from errno import EACCES, EFAULT, EINVAL, ENODATA, EOPNOTSUPP, EPERM
from typing import Annotated, Final

from pltvm.host.linux.arguments import (
    Address,
    Buffer,
    Fd,
    Flags,
    Folder,
    Int,
    MaybePath,
    Mode,
    Path,
    Unsigned,
)
from pltvm.host.linux.calls.at import (
    AT_EMPTY_PATH,
    AT_NO_AUTOMOUNT,
    AT_SYMLINK_NOFOLLOW,
    EMPTY_OR_LINK,
    itself,
    not_only_a_path,
    target,
)
from pltvm.host.linux.credentials import CAP_CHOWN
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import File, Status
from pltvm.host.linux.fs import changes, shm
from pltvm.host.linux.fs.filesystem import MOST_GROWTH, MOST_NEW
from pltvm.host.linux.process import Thread
from pltvm.host.linux.structs import STAT, STATFS, STATX, TIMESPEC, Stat, Statfs, Statx
from pltvm.host.linux.system import System
from pltvm.host.linux.table import system_call

_SECOND: Final = 10**9
_ID: Final = 0xFFFF_FFFF
_BASIC: Final = 0x7FF  # STATX_BASIC_STATS
AtFlags = Annotated[int, Flags(EMPTY_OR_LINK | {"AT_NO_AUTOMOUNT": AT_NO_AUTOMOUNT})]


def pack_stat(status: Status) -> bytes:
    """Return riscv64's `struct stat`."""
    accessed, modified, changed = status.accessed, status.modified, status.changed
    return STAT.pack(
        Stat(
            status.device, status.inode, status.mode, status.links, *status.owner, status.kind_of_device,
            status.size, status.block, status.blocks,
            accessed // _SECOND, accessed % _SECOND, modified // _SECOND, modified % _SECOND,
            changed // _SECOND, changed % _SECOND,
        )
    )  # fmt: skip


def _status(system: System, folder: File, path: bytes, flags: int) -> Status:
    if not path and flags & AT_EMPTY_PATH:
        return folder.status()
    return system.fs.status(folder, path, not flags & AT_SYMLINK_NOFOLLOW)


@system_call(80)
def fstat(system: System, thread: Thread, file: Fd, result: Buffer) -> int:
    """Get the state of an open file."""
    thread.space.write(result, pack_stat(file.status()))
    return 0


@system_call(79)
def newfstatat(
    system: System, thread: Thread, folder: Folder, path: Path, result: Buffer, flags: AtFlags
) -> int:
    """Get the state of the file at a path."""
    thread.space.write(result, pack_stat(_status(system, folder, path, flags)))
    return 0


@system_call(291)
def statx(
    system: System,
    thread: Thread,
    folder: Folder,
    path: Path,
    flags: Annotated[
        int,
        Flags(
            EMPTY_OR_LINK
            | {"AT_NO_AUTOMOUNT": 0x800, "AT_STATX_FORCE_SYNC": 0x2000, "AT_STATX_DONT_SYNC": 0x4000}
        ),
    ],
    mask: Unsigned,
    result: Buffer,
) -> int:
    """Get the state in another form: all that `stat` has, whatever was requested."""
    if mask >> 31 or flags & 0x6000 == 0x6000:
        raise LinuxError(EINVAL)
    thread.space.write(result, _pack_statx(_status(system, folder, path, flags)))
    return 0


def _pack_statx(one: Status) -> bytes:
    kind, device = one.kind_of_device, one.device
    return STATX.pack(
        Statx(
            _BASIC, one.block, 0, one.links, *one.owner, one.mode, one.inode, one.size, one.blocks, 0,
            *divmod(one.accessed, _SECOND), 0, 0, *divmod(one.changed, _SECOND),
            *divmod(one.modified, _SECOND), os.major(kind), os.minor(kind), os.major(device),
            os.minor(device), 0, 0, 0,
        )
    )  # fmt: skip


@system_call(43)
def statfs(system: System, thread: Thread, path: Path, result: Buffer) -> int:
    """Get the state of the file system of a path; its free space is what programs may still write."""
    with system.fs.find(thread.process.folder, path) as place:
        thread.space.write(result, _pack_statfs(system, system.fs.status_at(place).device))
    return 0


@system_call(44)
def fstatfs(system: System, thread: Thread, file: Fd, result: Buffer) -> int:
    """Get the state of the file system of an open file."""
    thread.space.write(result, _pack_statfs(system, file.status().device))
    return 0


def _pack_statfs(system: System, device: int) -> bytes:
    kind = {4: 0x9FA0, 3: 0x62656572}.get(device)  # proc, sysfs
    on_disk = 0xEF53 if device != shm.DEVICE else 0x01021994  # tmpfs
    if kind is not None:
        return STATFS.pack(Statfs(kind, 4096, 0, 0, 0, 0, 0, 0, 255, 4096, 0))
    room = system.fs.room.state
    left = room.left // 4096
    return STATFS.pack(
        Statfs(on_disk, 4096, MOST_GROWTH // 4096, left, left, MOST_NEW, room.new, 1, 255, 4096, 0)
    )


# -- access and permissions ----------------------------------------------------------------------------------


@system_call(48)
def faccessat(system: System, thread: Thread, folder: Folder, path: Path, mode: Int) -> int:
    """Check whether a file may be read, written, executed."""
    return _access(system, folder, path, mode, 0)


@system_call(439)
def faccessat2(
    system: System,
    thread: Thread,
    folder: Folder,
    path: Path,
    mode: Int,
    flags: Annotated[int, Flags(EMPTY_OR_LINK | {"AT_EACCESS": 0x200})],
) -> int:
    """Like `faccessat`, with flags: for a link itself, and by the effective user, who is the same here."""
    return _access(system, folder, path, mode, flags)


def _access(system: System, folder: File, path: bytes, mode: int, flags: int) -> int:
    if mode & ~7:
        raise LinuxError(EINVAL)
    if not path and flags & AT_EMPTY_PATH:
        file_mode = folder.status().mode
        if mode & 1 and not file_mode & 0o111:
            raise LinuxError(EACCES)
        return 0
    system.fs.access(folder, path, mode, not flags & AT_SYMLINK_NOFOLLOW)
    return 0


@system_call(52)
def fchmod(system: System, thread: Thread, file: Fd, mode: Mode) -> int:
    """Set the permissions of an open file."""
    real = itself(not_only_a_path(file))
    if real is not None:
        _set_mode(system, real, mode)
    return 0


def _set_mode(system: System, real: str, mode: int) -> None:
    if not changes.set_mode(system.fs, real, mode & 0o7777):
        system.refuse("chmod on the disk")


@system_call(53)
def fchmodat(system: System, thread: Thread, folder: Folder, path: Path, mode: Mode) -> int:
    """Set the permissions of the file at a path."""
    return _chmod(system, folder, path, mode, 0)


@system_call(452)
def fchmodat2(
    system: System,
    thread: Thread,
    folder: Folder,
    path: Path,
    mode: Mode,
    flags: Annotated[int, Flags(EMPTY_OR_LINK)],
) -> int:
    """Like `fchmodat`, with flags; permissions of a link cannot be changed."""
    return _chmod(system, folder, path, mode, flags)


def _chmod(system: System, folder: File, path: bytes, mode: int, flags: int) -> int:
    with target(system, folder, path, flags) as real:
        if real is None:
            raise LinuxError(EPERM)
        _set_mode(system, real, mode)
    return 0


def _own(system: System, thread: Thread, real: str | None, user: int, group: int) -> int:
    """Note the owner: on the disk nothing changes."""
    if real is not None:
        info = os.stat(real)
        status, own = system.fs.marks.status(info), thread.process.state.credentials
        old, mode = status.owner, status.mode
        new = (old[0] if user == -1 else user & _ID, old[1] if group == -1 else group & _ID)
        groups = (old[1], own.group.files, *own.extra)
        if not own.may(CAP_CHOWN) and (own.user.files != old[0] or new[0] != old[0] or new[1] not in groups):
            raise LinuxError(EPERM)
        if new != old:
            system.fs.marks.owned(info, new)
        kept = mode & ~(stat.S_ISUID | (stat.S_ISGID if mode & stat.S_IXGRP else 0))
        if kept != mode and not stat.S_ISDIR(mode):
            _set_mode(system, real, kept)
        elif (user, group) != (-1, -1):
            system.fs.marks.changed(info)
    return 0


@system_call(55)
def fchown(system: System, thread: Thread, file: Fd, user: Int, group: Int) -> int:
    """Set the owner of an open file."""
    return _own(system, thread, itself(not_only_a_path(file)), user, group)


@system_call(54)
def fchownat(
    system: System,
    thread: Thread,
    folder: Folder,
    path: Path,
    user: Int,
    group: Int,
    flags: Annotated[int, Flags(EMPTY_OR_LINK)],
) -> int:
    """Set the owner of the file at a path."""
    with target(system, folder, path, flags) as real:
        return _own(system, thread, real, user, group)


# -- times ---------------------------------------------------------------------------------------------------

_NOW, _OMIT = (1 << 30) - 1, (1 << 30) - 2


@system_call(88)
def utimensat(
    system: System,
    thread: Thread,
    folder: Folder,
    path: MaybePath,
    times: Address,
    flags: Annotated[int, Flags(EMPTY_OR_LINK)],
) -> int:
    """Set the times of the file at a path, or, without a path, of an open file."""
    now = system.fs.marks.now()
    wanted: list[int | None] = [now, now]
    is_explicit = False
    if times:
        raw = thread.space.read(times, 2 * TIMESPEC.size)
        for index in range(2):
            time = TIMESPEC.unpack(raw[index * TIMESPEC.size :])
            if time.nsec == _OMIT:
                wanted[index] = None
            elif time.nsec != _NOW:
                if not 0 <= time.nsec < _SECOND:
                    raise LinuxError(EINVAL)
                wanted[index] = time.sec * _SECOND + time.nsec
                is_explicit = True
    if path is None:
        if flags:
            raise LinuxError(EINVAL)
        if folder is thread.process.folder:  # AT_FDCWD
            raise LinuxError(EFAULT)
        not_only_a_path(folder)
    if wanted == [None, None]:
        return 0
    with target(system, folder, path, flags) as real:
        if real is not None:
            changes.set_times(system.fs, real, wanted[0], wanted[1], is_explicit)
    return 0


# -- extended attributes -------------------------------------------------------------------------------------
# There are none. Most programs that ask for them work without.


def _must_exist(system: System, thread: Thread, path: bytes, follow: bool = True) -> None:
    with system.fs.find(thread.process.folder, path, follow) as place:
        place.kind  # noqa: B018  # it is there


@system_call(8, 14)
def getxattr(system: System, thread: Thread, path: Path, name: Path) -> int:
    """Read or remove an attribute of a path: there is none."""
    _must_exist(system, thread, path)
    raise LinuxError(ENODATA)


@system_call(9, 15)
def lgetxattr(system: System, thread: Thread, path: Path, name: Path) -> int:
    """Likewise, of a link itself."""
    _must_exist(system, thread, path, follow=False)
    raise LinuxError(ENODATA)


@system_call(10, 16)
def fgetxattr(system: System, thread: Thread, file: Fd, name: Path) -> int:
    """Read or remove an attribute of an open file: there is none."""
    not_only_a_path(file)
    raise LinuxError(ENODATA)


@system_call(11)
def listxattr(system: System, thread: Thread, path: Path) -> int:
    """None to list."""
    _must_exist(system, thread, path)
    return 0


@system_call(12)
def llistxattr(system: System, thread: Thread, path: Path) -> int:
    """Likewise, of a link itself."""
    _must_exist(system, thread, path, follow=False)
    return 0


@system_call(13)
def flistxattr(system: System, thread: Thread, file: Fd) -> int:
    """None to list."""
    not_only_a_path(file)
    return 0


@system_call(5)
def setxattr(system: System, thread: Thread, path: Path, name: Path) -> int:
    """Set an attribute of a path: not supported."""
    _must_exist(system, thread, path)
    raise LinuxError(EOPNOTSUPP)


@system_call(6)
def lsetxattr(system: System, thread: Thread, path: Path, name: Path) -> int:
    """Likewise, of a link itself."""
    _must_exist(system, thread, path, follow=False)
    raise LinuxError(EOPNOTSUPP)


@system_call(7)
def fsetxattr(system: System, thread: Thread, file: Fd, name: Path) -> int:
    """Set an attribute of an open file: not supported."""
    not_only_a_path(file)
    raise LinuxError(EOPNOTSUPP)
