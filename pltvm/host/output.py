"""What guests print: passed on as it comes, kept up to a limit, so that no guest fills the host's memory."""

from collections.abc import Callable
from typing import Final

from pltvm.errors import FromCallback

KEPT: Final = 16 << 20  # bytes of a run's output that its result has


class Output:
    """Takes the bytes of one run; `on_output` gets all of them, `text` has the first KEPT."""

    def __init__(self, on_output: Callable[[bytes], None] | None) -> None:
        self._on_output = on_output
        self._parts: list[bytes] = []
        self._room = KEPT
        self.size = 0

    def write(self, text: bytes) -> None:
        """More output."""
        self.size += len(text)
        if self._room and text:
            self._parts.append(text[: self._room])
            self._room -= len(self._parts[-1])
        if self._on_output is not None:
            try:
                self._on_output(text)
            except Exception as error:
                raise FromCallback(error) from error

    @property
    def text(self) -> bytes:
        """What was kept."""
        return b"".join(self._parts)
