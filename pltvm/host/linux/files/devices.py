"""The devices that every Linux has: /dev/null, zero, full, random and urandom."""

import random
import stat
from collections.abc import Callable
from errno import ENOSPC
from typing import Any, Final

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import DEVICES as OF_DEVICES
from pltvm.host.linux.files.file import File, Status

DEVICES: Final = {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}  # minor numbers, of major 1


class Device(File):
    """One of these devices; random bytes are from the seeded `generator`, so that runs repeat."""

    mode = stat.S_IFCHR | 0o666

    def __init__(self, name: str, flags: int, generator: random.Random) -> None:
        super().__init__(flags)
        self.kind = f"/dev/{name}"  # type: ignore[misc]  # a kind of its own each
        self.pollable = "random" in name  # type: ignore[misc]
        self._name = name
        self._generator = generator

    def read(self, size: int) -> bytes:
        self.must_read()
        if self._name == "null":
            return b""
        return self._generator.randbytes(size) if "random" in self._name else bytes(size)

    def write(self, data: bytes) -> int:
        self.must_write()
        if self._name == "full":
            raise LinuxError(ENOSPC)
        return len(data)

    def read_at(self, size: int, offset: int) -> bytes:
        return self.read(size)

    def write_at(self, data: bytes, offset: int) -> int:
        return self.write(data)

    def seek(self, offset: int, whence: int) -> int:
        return 0

    def status(self) -> Status:
        minor = DEVICES[self._name]
        return Status(self.mode, inode=minor, device=OF_DEVICES, kind_of_device=1 << 8 | minor)

    def name(self) -> bytes:
        return self.kind.encode()

    def again(self, flags: int) -> File:
        return Device(self._name, flags, self._generator)

    def save(self) -> Any:
        return None


def makers(generator: random.Random) -> dict[str, Callable[[Any, int], File]]:
    """Return the function that opens each of them, by path."""

    def maker(name: str) -> Callable[[Any, int], File]:
        return lambda _state, flags: Device(name, flags, generator)

    return {f"/dev/{name}": maker(name) for name in DEVICES}
