"""Landlock: allows only given files, and no TCP, from then on. Three system calls; see `landlock(7)`.

No package is used for it: `landlock` supports only files, `py-landlock` nothing after ABI 7; `landlockpy`,
the best of them, is only some months old. Each starts a process (`ldconfig`) to find libc, and takes 5 ms of
the 190 of a short `pltvm run`; this takes one.

Each version (ABI) of Landlock in a kernel supports some more rights. Unsupported rights are not requested:
`gaps` says what that leaves open.
"""

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Iterable
from typing import Final

EXECUTE: Final = 1 << 0
WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_DIR: Final = 1 << 3
REMOVE_DIR: Final = 1 << 4
REMOVE_FILE: Final = 1 << 5
MAKE_DIR: Final = 1 << 7  # bits 6 and 11, to make devices, are never given
MAKE_REG: Final = 1 << 8
MAKE_SOCK: Final = 1 << 9
MAKE_FIFO: Final = 1 << 10
MAKE_SYM: Final = 1 << 12
REFER: Final = 1 << 13  # to move a file to another folder; ABI 2, and refused before
TRUNCATE: Final = 1 << 14  # ABI 3

READ: Final = READ_FILE | READ_DIR
WRITE: Final = READ | WRITE_FILE | TRUNCATE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER
LINKS: Final = WRITE | MAKE_SYM | MAKE_FIFO | MAKE_SOCK

_OF_A_FILE: Final = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
_FILE_RIGHTS: Final = (0, 13, 14, 15, 15, 16)  # number of bits of each ABI; 16 from 5 on
_TCP: Final = 0b11  # bind and connect, ABI 4
_SCOPES: Final = 0b11  # abstract Unix sockets and signals of processes outside, ABI 6

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on all architectures
_VERSION: Final = 1  # flag: return the ABI
_PATH_BENEATH: Final = 1
_ALL_THREADS: Final = 1 << 3  # flag, ABI 8
_PR_SET_NO_NEW_PRIVS: Final = 38
_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def call(number: int, *arguments: object) -> int:
    """Make a system call; raises OSError."""
    plain = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    result = int(_libc.syscall(ctypes.c_long(number), *plain))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def no_new_privileges() -> None:
    """Set that started programs gain no rights (set-uid), which the kernel requires first."""
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def abi() -> int:
    """Return the kernel's version of Landlock; 0 if none, or if it is switched off."""
    try:
        return call(_CREATE_RULESET, None, 0, _VERSION)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP):
            return 0
        raise


def gaps(version: int, threads: int) -> list[str]:
    """Return what `restrict` leaves open with this ABI, in a process with so many threads."""
    open_still = []
    if version < 3:
        open_still.append(f"Landlock {version} of this kernel lets files be truncated")
    if version < 8 and threads > 1:
        open_still.append(f"Landlock {version} of this kernel leaves out threads that run already")
    return open_still


def restrict(rules: Iterable[tuple[str | os.PathLike[str], int]], *, network: bool = False) -> None:
    """Restrict this thread, and all that it starts, to `rules` (a path and its rights).

    Rights of a folder apply to everything in it. Missing paths are left out. With `network` TCP is allowed.
    With ABI 8 this is for all threads of the process. It cannot be undone. Raises OSError, and then changes
    nothing.
    """
    version = abi()
    if not version:
        raise OSError(errno.ENOSYS, "this kernel has no Landlock")
    files = (1 << _FILE_RIGHTS[min(version, len(_FILE_RIGHTS) - 1)]) - 1
    tcp = _TCP if version >= 4 and not network else 0
    attributes = struct.pack("=QQQ", files, tcp, _SCOPES if version >= 6 else 0)
    ruleset = call(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path, rights in rules:
            _allow(ruleset, path, rights & files)
        no_new_privileges()
        call(_RESTRICT_SELF, ruleset, _ALL_THREADS if version >= 8 else 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str | os.PathLike[str], rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (OSError, ValueError):  # ValueError: an untrusted file may name a path with a NUL
        return  # it cannot be opened later either
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _OF_A_FILE
        if rights:
            call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
    except OSError as error:
        if error.errno != errno.EBADFD:  # a pipe or socket, which Landlock does not restrict
            raise
    finally:
        os.close(place)
