"""How far a long random run is: a line on stderr now and then, and how fast it went."""

import sys
import time
from typing import Final

SECONDS: Final = 5.0  # between lines


class Progress:
    """The progress of a run that counts `what`; silent if it is `quiet`."""

    def __init__(self, what: str, quiet: bool = False, seconds: float = SECONDS) -> None:
        self._what, self._quiet, self._seconds = what, quiet, seconds
        self._started = self._told = time.monotonic()

    def rate(self, done: int) -> float:
        """How many a second it were so far."""
        return done / (time.monotonic() - self._started)

    def is_due(self) -> bool:
        """Whether it is time for a line; then it is not, for a while."""
        now = time.monotonic()
        if self._quiet or now - self._told < self._seconds:
            return False
        self._told = now
        return True

    def at(self, done: int) -> None:
        """So many are done: a line if one is due."""
        if self.is_due():
            self.tell(done)

    def tell(self, done: int, more: str = "") -> None:
        """A line, due or not, with `more` at its end."""
        print(f"{done:,} {self._what}, {self.rate(done):,.0f} a second{more}", file=sys.stderr)


def episodes(count: int, size: int) -> list[int]:
    """The sizes of episodes that make `count`: each `size`, but for what is left for the last."""
    whole, rest = divmod(count, size)
    return [size] * whole + [rest] * bool(rest)
