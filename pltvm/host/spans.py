"""A range of guest RAM as the host passes it on: start and size in bytes."""

from typing import Final, NamedTuple


class Span(NamedTuple):
    """Physical address and size in bytes. (A block has pages instead of bytes.)"""

    pa: int
    size: int

    @property
    def end(self) -> int:
        """The address after it."""
        return self.pa + self.size


NO_PAGES: Final = Span(0, 0)
