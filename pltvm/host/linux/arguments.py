"""Types of arguments of system calls: how a register is decoded, checked, and shown.

A system call declares its arguments by the types here; for mypy they are the types that the function gets:

    def lseek(system: System, thread: Thread, file: Fd, offset: Signed, whence: Int) -> int: ...

`Fd` is an open file: its kind looks up the descriptor and raises EBADF; `Int` is a signed number of 32 bits.
The trace in strace's form, and the test with hostile arguments, use the same declarations.
"""

from collections.abc import Mapping
from errno import EFAULT, EINVAL, ENAMETOOLONG, errorcode
from typing import Annotated, Any, Final

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import File
from pltvm.host.linux.fs.filesystem import CLOSED
from pltvm.host.linux.process import Thread
from pltvm.host.linux.space import USER_END
from pltvm.host.linux.structs import Layout

AT_FDCWD: Final = -100
LONGEST_PATH: Final = 4096  # bytes, with the NUL
_SHOWN: Final = 32  # bytes of data in a trace


def signed(value: int) -> int:
    """Return a register as a signed number."""
    return ((value & (1 << 64) - 1) ^ 1 << 63) - (1 << 63)


def signed32(value: int) -> int:
    """Return the low half of a register as a signed number."""
    return ((value & 0xFFFF_FFFF) ^ 0x8000_0000) - 0x8000_0000


class Kind:
    """A kind of argument; this base class takes any 64 bits."""

    def decode(self, thread: Thread, value: int) -> Any:
        """Return the value for the function; raises LinuxError."""
        return value

    def show(self, thread: Thread, value: int) -> str:
        """Return the argument's text in the trace; raises LinuxError if it is not in memory."""
        return str(value) if value < 1 << 20 else hex(value)


class Number(Kind):
    """A number of 64 or 32 bits, signed or unsigned."""

    def __init__(self, bits: int, has_sign: bool) -> None:
        self.bits = bits
        self.mask = (1 << bits) - 1
        self.sign = 1 << (bits - 1) if has_sign else 0

    def decode(self, thread: Thread, value: int) -> int:
        return ((value & self.mask) ^ self.sign) - self.sign

    def show(self, thread: Thread, value: int) -> str:
        return str(self.decode(thread, value))


class Octal(Number):
    """The permissions of a file."""

    def __init__(self) -> None:
        super().__init__(32, False)

    def show(self, thread: Thread, value: int) -> str:
        return f"{value & self.mask:#o}"


class Pointer(Kind):
    """An address of user memory, 0 for none."""

    def show(self, thread: Thread, value: int) -> str:
        return hex(value) if value else "NULL"


class FileOf(Kind):
    """A descriptor: the function gets the open file."""

    def decode(self, thread: Thread, value: int) -> File:
        return thread.process.file(signed32(value))

    def show(self, thread: Thread, value: int) -> str:
        return str(signed32(value))


class FolderOf(Kind):
    """The folder where a path begins; `CLOSED` for a bad descriptor, as an absolute path does not need it."""

    def decode(self, thread: Thread, value: int) -> File:
        number = signed32(value)
        if number == AT_FDCWD:
            return thread.process.folder
        try:
            return thread.process.file(number)
        except LinuxError:
            return CLOSED

    def show(self, thread: Thread, value: int) -> str:
        number = signed32(value)
        return "AT_FDCWD" if number == AT_FDCWD else str(number)


class Text(Kind):
    """The address of a string; None for address 0 if that is `optional`."""

    def __init__(self, longest: int = LONGEST_PATH, optional: bool = False) -> None:
        self.longest = longest
        self.optional = optional

    def decode(self, thread: Thread, value: int) -> bytes | None:
        if not value and self.optional:
            return None
        text = thread.process.space.string(value)
        if len(text) >= self.longest:
            raise LinuxError(ENAMETOOLONG)
        return text

    def show(self, thread: Thread, value: int) -> str:
        return quoted(thread.process.space.string(value)) if value else "NULL"


class Flags(Kind):
    """Bits, or a choice, with names; `others` are allowed bits without a name. Unknown bits give EINVAL."""

    def __init__(self, names: Mapping[str, int], others: int = 0, prefix: str = "") -> None:
        self.names = {f"{prefix}{name}": value for name, value in names.items()}
        self.known = others
        for value in names.values():
            self.known |= value

    def decode(self, thread: Thread, value: int) -> int:
        value &= 0xFFFF_FFFF
        if value & ~self.known:
            raise LinuxError(EINVAL)
        return value

    def show(self, thread: Thread, value: int) -> str:
        value &= 0xFFFF_FFFF
        names = [name for name, bits in self.names.items() if bits and value & bits == bits]
        rest = value & ~sum({self.names[name] for name in names})
        return "|".join(names + ([hex(rest) if rest else "0"] if rest or not names else []))


class Choice(Kind):
    """One of several numbers with names; others give EINVAL, or are passed on if `others`."""

    def __init__(self, names: Mapping[str, int], others: bool = False) -> None:
        self.names = {value: name for name, value in names.items()}
        self.others = others

    def decode(self, thread: Thread, value: int) -> int:
        number = signed32(value)
        if number not in self.names and not self.others:
            raise LinuxError(EINVAL)
        return number

    def show(self, thread: Thread, value: int) -> str:
        number = signed32(value)
        return self.names.get(number, str(number))


class In(Kind):
    """The address of a struct to read; the function gets None for address 0 if that is `optional`."""

    def __init__(self, layout: Layout[Any], optional: bool = False) -> None:
        self.layout = layout
        self.optional = optional

    def decode(self, thread: Thread, value: int) -> Any:
        if not value and self.optional:
            return None
        return self.layout.unpack(thread.process.space.read(value, self.layout.size))

    def show(self, thread: Thread, value: int) -> str:
        if not value:
            return "NULL"
        fields = self.layout.unpack(thread.process.space.read(value, self.layout.size))._asdict().items()
        return "{" + ", ".join(f"{name}={number}" for name, number in fields) + "}"


class At(In):
    """The same, but the function gets the address, as it does not always read it, or writes it too."""

    def decode(self, thread: Thread, value: int) -> int:
        return value


class Data(Kind):
    """The address of bytes to read; the next argument is their number. The function gets the address."""

    def show(self, thread: Thread, value: int) -> str:
        return hex(value)

    @staticmethod
    def show_bytes(thread: Thread, value: int, size: int) -> str:
        """Return the text of the bytes in a trace."""
        text = quoted(thread.process.space.read(value, min(size, _SHOWN)))
        return text + ("..." if size > _SHOWN else "")


class Written(Pointer):
    """The address of bytes that the call writes; how many its result says, if it is not 0."""


class Length(Kind):
    """The size of a buffer whose address is the argument before it, limited to user memory."""

    def decode(self, thread: Thread, value: int) -> int:
        if value > USER_END:
            raise LinuxError(EFAULT)
        return value


def quoted(text: bytes) -> str:
    """Return a string as strace shows it."""
    return '"' + repr(text)[2:-1].replace('"', '\\"').replace("\\'", "'") + '"'


def shown_result(value: int) -> str:
    """Return the result of a call as strace shows it."""
    number = signed(value)
    if -4096 < number < 0:
        return f"-1 {errorcode.get(-number, -number)}"
    return str(number) if abs(number) < 1 << 20 else hex(value)


Word = Annotated[int, Kind()]
Size = Annotated[int, Length()]
Signed = Annotated[int, Number(64, True)]
Int = Annotated[int, Number(32, True)]
Unsigned = Annotated[int, Number(32, False)]
Mode = Annotated[int, Octal()]
Address = Annotated[int, Pointer()]
Buffer = Annotated[int, Written()]
Bytes = Annotated[int, Data()]
Fd = Annotated[File, FileOf()]
FdNumber = Annotated[int, Number(32, True)]
Folder = Annotated[File, FolderOf()]
Path = Annotated[bytes, Text()]
MaybePath = Annotated[bytes | None, Text(optional=True)]
