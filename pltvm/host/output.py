"""What guests print: passed on as it comes, kept up to a limit, so that no guest fills the host's memory.

And the other functions of a caller that a run calls: what they raise is the caller's. On its way back it goes
through code that serves guests, where an error would be taken for one of serving them. So it travels as a
`FromCallback`, which no handler of errors stops, and `passed_on`, around the run, unwraps it.
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
KEPT: Final = 16 << 20  # bytes of a run's output that its result has


class MayBeLate:
    """A function for output that may be called a moment later, and once for several texts.

    Others are called at once, as they may want to do something about the enclave that prints.
    """

    def __init__(self, function: Callable[[bytes], None]) -> None:
        self._function = function

    def __call__(self, text: bytes) -> None:
        self._function(text)


def of_caller(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """A function of the caller, to be called during a run inside `passed_on`."""

    def call(*arguments: _P.args, **named: _P.kwargs) -> _T:
        try:
            return function(*arguments, **named)
        except Exception as error:
            raise FromCallback(error) from None

    return call


class passed_on:  # no generator, through which a StopIteration would not come
    """Around a run: the caller gets what its own functions raised."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if isinstance(error, FromCallback):
            raise error.original from None


@dataclass(slots=True)
class OutputState:
    """What a run has printed: the first KEPT bytes, and how many it were."""

    kept: bytearray = field(default_factory=bytearray)  # not a list of parts: they may be single bytes
    size: int = 0


class Output(Part[OutputState]):
    """Takes the bytes of one run; `on_output` gets all of them, `text` has the first KEPT.

    For a run inside `passed_on`. What was passed on is not taken back when the state is put back.
    """

    def __init__(self, on_output: Callable[[bytes], None] | None) -> None:
        self._on_output = of_caller(on_output) if on_output is not None else None
        self.state = OutputState()
        self.late = on_output is None or isinstance(on_output, MayBeLate)  # whether that makes no difference

    def write(self, text: bytes) -> None:
        """More output."""
        state = self.state
        state.size += len(text)
        state.kept += text[: KEPT - len(state.kept)]
        if self._on_output is not None:
            self._on_output(text)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Nothing is passed on in the block."""
        on_output, self._on_output = self._on_output, None
        try:
            yield
        finally:
            self._on_output = on_output

    @property
    def size(self) -> int:
        """Bytes that were written."""
        return self.state.size

    @property
    def text(self) -> bytes:
        """What was kept."""
        return bytes(self.state.kept)
