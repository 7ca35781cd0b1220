"""Replacing the program of a process: execve."""

import re
from errno import E2BIG, EACCES, EBADF, ELOOP, ENAMETOOLONG, ENOENT, ENOEXEC, ETXTBSY
from typing import Annotated, Final, NamedTuple

from pltvm.engine.context import A0
from pltvm.errors import ElfError
from pltvm.host.linux import life
from pltvm.host.linux.arguments import Address, Flags, Folder, Path, quoted, signed32
from pltvm.host.linux.calls.at import AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, EMPTY_OR_LINK
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import File
from pltvm.host.linux.files.host import HostFile, HostFolder
from pltvm.host.linux.files.memory_file import MemoryFile
from pltvm.host.linux.fs.filesystem import CLOSED
from pltvm.host.linux.life import Program
from pltvm.host.linux.open_flags import O_ACCESS, O_PATH, O_RDONLY
from pltvm.host.linux.process import Thread
from pltvm.host.linux.system import System
from pltvm.host.linux.table import system_call

_MOST_SCRIPTS: Final = 5  # interpreters of interpreters
_HEAD: Final = 255  # bytes of a script that are looked at
_LONGEST_STRING: Final = 128 << 10  # with its NUL
_MOST_BYTES: Final = 2 << 20  # of all strings and their addresses


@system_call(221)
def execve(system: System, thread: Thread, path: Path, arguments: Address, variables: Address) -> None:
    """Replace the calling process's program."""
    _execute(system, thread, _Named(thread.process.folder, path, path), arguments, variables)


@system_call(281)
def execveat(
    system: System,
    thread: Thread,
    folder: Folder,
    path: Path,
    arguments: Address,
    variables: Address,
    flags: Annotated[int, Flags(EMPTY_OR_LINK)],
) -> None:
    """Like `execve`, with a path relative to a folder, or of an open file."""
    called, closes = path, False
    if folder is not thread.process.folder and not path.startswith(b"/"):
        number = signed32(thread.context.regs[A0])
        called = b"/dev/fd/%d" % number + (b"/" + path if path else b"")
        descriptor = thread.process.state.descriptors.get(number)
        closes = descriptor is not None and descriptor.closes
    _execute(system, thread, _Named(folder, path, called, closes, flags), arguments, variables)


class _Named(NamedTuple):
    """What execve was given: a path from a folder, and how it calls it; `closes` if the program cannot open
    that, as it leads through a descriptor that is closed."""

    folder: File
    path: bytes
    called: bytes
    closes: bool = False
    flags: int = 0


def _execute(system: System, thread: Thread, named: _Named, argv: int, envp: int) -> None:
    arguments, variables = _strings(thread, argv) or [b""], _strings(thread, envp)
    program = _find(system, thread, named, arguments)
    try:
        life.execute(system, thread, program, variables)
    except ElfError as error:
        if program.image.data.startswith(b"\x7fELF"):
            system.refuse(f"execve of {quoted(program.path)}, which {error}")
        raise LinuxError(ENOENT if getattr(error, "interpreter", "") else ENOEXEC) from None


def _find(system: System, thread: Thread, named: _Named, arguments: list[bytes]) -> Program:
    """Find the program that was named, or that of its `#!` line."""
    path, script = named.path, named.called
    if path or not named.flags & AT_EMPTY_PATH:
        file = system.fs.open_program(named.folder, path, not named.flags & AT_SYMLINK_NOFOLLOW)
    else:
        file = _again(named.folder)
    for _ in range(_MOST_SCRIPTS + 1):
        try:
            _must_not_be_written(system, file)
            image, key, real = file.image(), file.key, file.name()
        finally:
            file.close()
        if not image.data.startswith(b"#!"):
            return Program(image, key, real, arguments, named.called, path or real)
        interpreter, *option = _interpreter(image.data)
        if named.closes:
            raise LinuxError(ENOENT)
        arguments = [interpreter, *option, script, *arguments[1:]]
        script = interpreter
        file = system.fs.open_program(thread.process.folder, interpreter)
    file.close()
    raise LinuxError(ELOOP)


def _again(file: File) -> HostFile:
    """Open a file that is open already, to be executed."""
    if file is CLOSED:
        raise LinuxError(EBADF)
    if not isinstance(file, HostFile) or isinstance(file, HostFolder) or not file.status().mode & 0o111:
        raise LinuxError(EACCES)
    again = file.again(O_RDONLY)
    assert isinstance(again, HostFile)
    return again


def _must_not_be_written(system: System, file: HostFile) -> None:
    """Raise LinuxError(ETXTBSY) for a file that is open for writing."""
    if isinstance(file, MemoryFile):  # Linux does not count those who write these
        return
    same = (one for one in system.open_files.values() if isinstance(one, HostFile) and one.key == file.key)
    if any(one.flags & O_ACCESS and not one.flags & O_PATH for one in same):
        raise LinuxError(ETXTBSY)


def _interpreter(data: bytes) -> list[bytes]:
    """Return the path in a `#!` line, and the rest of it, if there is one."""
    line, newline, _ = data[2 : _HEAD + 1].partition(b"\n")
    line = line[: _HEAD - 2].strip(b" \t")
    if not line:
        raise LinuxError(ENOEXEC if newline else EACCES)
    words = re.split(rb"[ \t]+", line, maxsplit=1)
    if not newline and len(words) == 1 and len(data) > _HEAD:
        raise LinuxError(ENOEXEC)  # the path may go on
    return words


def _strings(thread: Thread, address: int) -> list[bytes]:
    """Read an array of strings that ends with NULL."""
    found: list[bytes] = []
    size = 0
    while address:
        at = int.from_bytes(thread.space.read(address + 8 * len(found), 8), "little")
        if not at:
            break
        try:
            text = thread.space.string(at, _LONGEST_STRING)
        except LinuxError as error:
            raise LinuxError(E2BIG if error.number == ENAMETOOLONG else error.number) from None
        size += len(text) + 9
        if len(text) >= _LONGEST_STRING or size > _MOST_BYTES:
            raise LinuxError(E2BIG)
        found.append(text)
    return found
