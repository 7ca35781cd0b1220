"""The output of guests: passed on when it is printed, and kept up to a limit.

The file also handles errors of callbacks. An error raised by a function of the caller has to reach the
caller, through code that serves guests and would take it for an error in serving them. So it travels as a
`FromCallback`, which no handler of errors catches, and `passed_on`, around the run, unwraps it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, ParamSpec, TypeVar

from pltvm.errors import FromCallback
from pltvm.host.plain import Part

_P = ParamSpec("_P")
_T = TypeVar("_T")
KEPT: Final = 16 << 20  # largest number of bytes of output in a result


class MayBeLate:
    """A function for output that may be called a little later, and once for several texts.

    Other functions are called at once, as they may want to act on the enclave that prints.
    """

    def __init__(self, function: Callable[[bytes], None]) -> None:
        self._function = function

    def __call__(self, text: bytes) -> None:
        self._function(text)


def of_caller(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Wrap a function of the caller that is called during a run inside `passed_on`."""

    def call(*arguments: _P.args, **named: _P.kwargs) -> _T:
        try:
            return function(*arguments, **named)
        except Exception as error:
            raise FromCallback(error) from None

    return call


class passed_on:  # no generator, as a StopIteration could not pass through it
    """Context manager around a run: raises the errors of the caller's own functions."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if isinstance(error, FromCallback):
            raise error.original from None


@dataclass(slots=True)
class OutputState:
    """The output of a run: the first KEPT bytes, and the total number."""

    kept: bytearray = field(default_factory=bytearray)  # not a list of parts, as they may be single bytes
    size: int = 0


class Output(Part[OutputState]):
    """Takes the bytes of one run; `on_output` gets all of them, `text` has the first KEPT.

    For a run inside `passed_on`. Bytes passed on are not taken back when the state is restored.
    """

    def __init__(self, on_output: Callable[[bytes], None] | None) -> None:
        self._on_output = of_caller(on_output) if on_output is not None else None
        self.state = OutputState()
        # whether late output makes no difference
        self.late = on_output is None or isinstance(on_output, MayBeLate)

    def write(self, text: bytes) -> None:
        """Add output."""
        state = self.state
        state.size += len(text)
        state.kept += text[: KEPT - len(state.kept)]
        if self._on_output is not None:
            self._on_output(text)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Pass nothing on in this context."""
        on_output, self._on_output = self._on_output, None
        try:
            yield
        finally:
            self._on_output = on_output

    @property
    def size(self) -> int:
        """The number of bytes printed."""
        return self.state.size

    @property
    def text(self) -> bytes:
        """The kept bytes."""
        return bytes(self.state.kept)
