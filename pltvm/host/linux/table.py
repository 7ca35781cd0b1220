"""The table of system calls: each is a function with declared arguments (`arguments`).

    @system_call(62)
    def lseek(system: System, thread: Thread, file: Fd, offset: Signed, whence: Int) -> int: ...

A function returns the result, or None if the thread's registers are already set. It raises LinuxError for an
error number, and Blocked to be called again later.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar, get_args

from pltvm.engine.context import A0, A1, A2, A3, A4, A5
from pltvm.host.linux.arguments import Data, Kind, Written, shown_result
from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.names import name_of_call
from pltvm.host.linux.process import Thread

Registers = Any  # u64, by the slots of a context
_Function = TypeVar("_Function", bound=Callable[..., int | None])


class SystemCall:
    """One call: `run(system, thread, registers)` decodes the arguments and calls the function."""

    def __init__(self, number: int, function: Callable[..., int | None]) -> None:
        self.number = number
        self.name = name_of_call(number, function.__name__.rstrip("_"))
        self.function = function
        declared = list(function.__annotations__.items())[2:]
        self.arguments = {
            name: next(one for one in get_args(kind) if isinstance(one, Kind))
            for name, kind in declared
            if name != "return"
        }
        self.run = _caller(function, [_decoder(kind) for kind in self.arguments.values()])

    def show(self, thread: Thread, words: list[int], result: int = 0) -> str:
        """Return the call as strace shows it; `words` are its arguments."""
        kinds, parts = list(self.arguments.values()), []
        for index, kind in enumerate(kinds):
            try:
                if isinstance(kind, Data) and index + 1 < len(kinds):
                    parts.append(Data.show_bytes(thread, words[index], words[index + 1]))
                elif isinstance(kind, Written) and result > 0:
                    parts.append(Data.show_bytes(thread, words[index], result))
                else:
                    parts.append(kind.show(thread, words[index]))
            except LinuxError:
                parts.append(hex(words[index]))
        return f"{self.name}({', '.join(parts)})"

    def show_with_result(self, thread: Thread, words: list[int], result: int) -> str:
        """Return the call with its result, as strace shows it."""
        return f"{self.show(thread, words, result)} = {shown_result(result)}"


SYSTEM_CALLS: Final[dict[int, SystemCall]] = {}


def system_call(*numbers: int) -> Callable[[_Function], _Function]:
    """Add a function to the table, under its numbers on riscv64."""

    def add(function: _Function) -> _Function:
        for number in numbers:
            SYSTEM_CALLS[number] = SystemCall(number, function)
        return function

    return add


def _decoder(kind: Kind) -> Callable[[Thread, int], Any] | None:
    """Return the decoder of a kind, None if it needs none."""
    return None if type(kind).decode is Kind.decode else kind.decode


def _caller(
    function: Callable[..., int | None], decoders: list[Callable[[Thread, int], Any] | None]
) -> Callable[[Any, Thread, Registers], int | None]:
    """Return a fast function of the registers: there is one form for each number of arguments."""
    plain: Callable[[Thread, int], Any] = lambda _thread, value: value  # noqa: E731
    d0, d1, d2, d3, d4, d5 = ([one or plain for one in decoders] + [plain] * 6)[:6]
    if not any(decoders):
        first = A0
        last = A0 + len(decoders)
        return lambda s, t, r: function(s, t, *r[first:last])
    return (
        lambda s, t, r: function(s, t),
        lambda s, t, r: function(s, t, d0(t, r[A0])),
        lambda s, t, r: function(s, t, d0(t, r[A0]), d1(t, r[A1])),
        lambda s, t, r: function(s, t, d0(t, r[A0]), d1(t, r[A1]), d2(t, r[A2])),
        lambda s, t, r: function(s, t, d0(t, r[A0]), d1(t, r[A1]), d2(t, r[A2]), d3(t, r[A3])),
        lambda s, t, r: function(s, t, d0(t, r[A0]), d1(t, r[A1]), d2(t, r[A2]), d3(t, r[A3]), d4(t, r[A4])),
        lambda s, t, r: function(
            s, t, d0(t, r[A0]), d1(t, r[A1]), d2(t, r[A2]), d3(t, r[A3]), d4(t, r[A4]), d5(t, r[A5])
        ),
    )[len(decoders)]
