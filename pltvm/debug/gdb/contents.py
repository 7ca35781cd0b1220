"""Packets for registers and memory of the process and thread that the client has chosen."""

from collections.abc import Callable
from typing import Final

from pltvm.debug.gdb import registers
from pltvm.debug.gdb.answers import BAD, NOT_HERE, OK, Table
from pltvm.debug.gdb.whom import Whom
from pltvm.debug.viewing import View, Views

_MOST_READ: Final = 0x8000


class Contents:
    """Reads and writes them. `say` gets a line with the reason if memory cannot be read."""

    def __init__(self, views: Views, whom: Whom, say: Callable[[str], None]) -> None:
        self._views = views
        self._whom = whom
        self._say = say
        self.changed = False  # the client has changed registers or memory
        self._refused: set[tuple[int, int]] = set()  # process, page

    def begin(self) -> None:
        """Begin a new stop: reasons are given again."""
        self._refused.clear()

    # -- registers ---------------------------------------------------------------------------------------

    def _all_registers(self, rest: bytes) -> bytes:
        _, found = self._whom.with_suffix(rest)
        if found is None:
            return BAD
        context, known = found[1].context, self._registers_of(found[0])
        return b"".join(registers.read(context, one).hex().encode() for one in known)

    def _registers_of(self, view: View) -> tuple[registers.Register, ...]:
        """Return the registers that the client knows: gdb requests the description of only one process by
        itself."""
        return registers.REGISTERS if view.number in self._whom.described else registers.PLAIN

    def _set_all_registers(self, rest: bytes) -> bytes:
        rest, found = self._whom.with_suffix(rest)
        data = bytes.fromhex(rest.decode("ascii"))
        if found is None or len(data) < sum(one.size for one in self._registers_of(found[0])):
            return BAD
        self.changed = True
        for one in self._registers_of(found[0]):
            registers.write(found[1].context, one, data[: one.size])
            data = data[one.size :]
        return OK

    def _register(self, rest: bytes) -> bytes:
        rest, found = self._whom.with_suffix(rest)
        number = int(rest, 16)
        if found is None or not 0 <= number < len(registers.REGISTERS):
            return BAD
        return registers.read(found[1].context, registers.REGISTERS[number]).hex().encode()

    def _set_register(self, rest: bytes) -> bytes:
        rest, found = self._whom.with_suffix(rest)
        number, _, value = rest.partition(b"=")
        index = int(number, 16)
        if found is None or not 0 <= index < len(registers.REGISTERS):
            return BAD
        data = bytes.fromhex(value.decode("ascii"))
        self.changed = True
        return OK if registers.write(found[1].context, registers.REGISTERS[index], data) else BAD

    # -- memory ------------------------------------------------------------------------------------------

    def _read(self, rest: bytes) -> bytes:
        rest, found = self._whom.with_suffix(rest)
        va, size = _address(rest)
        if found is None:
            return BAD
        data = self._views.read(found[0], va, min(size, _MOST_READ))
        if size and not data:
            self._say_why(found[0], va)
            return NOT_HERE
        return data.hex().encode()

    def _say_why(self, view: View, va: int) -> None:
        """Say why memory cannot be read, once for each page at a stop."""
        page = view.number, va >> 12
        if va >> 12 and page not in self._refused and len(self._refused) < 16:
            self._refused.add(page)
            reason = self._views.why_not(view, va)
            if reason != "nothing is mapped there":
                self._say(f"pltvm: {view.name} has nothing at {va:#x}: {reason}")

    def _write(self, rest: bytes) -> bytes:
        head, _, data = rest.partition(b":")
        return self._put(head, bytes.fromhex(data.decode("ascii")))

    def _write_binary(self, rest: bytes) -> bytes:
        head, _, data = rest.partition(b":")
        return self._put(head, data)

    def _put(self, head: bytes, data: bytes) -> bytes:
        va, size = _address(head)
        found = self._whom.thread()
        if found is None or len(data) < size:
            return BAD
        if not size:
            return OK
        if self._views.write(found[0], va, data[:size]):
            self.changed = True
            return OK
        self._say_why(found[0], va)
        return NOT_HERE

    def packets(self) -> Table:
        """Return the packets that it answers."""
        return {
            b"g": self._all_registers, b"G": self._set_all_registers,
            b"p": self._register, b"P": self._set_register,
            b"m": self._read, b"M": self._write, b"X": self._write_binary,
        }  # fmt: skip


def _address(text: bytes) -> tuple[int, int]:
    """Parse `ADDRESS,LENGTH`. Raises ValueError."""
    place, size = (int(number, 16) for number in text.split(b","))
    if not 0 <= place < 1 << 64 or size < 0:
        raise ValueError
    return place, size
