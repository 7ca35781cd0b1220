"""A piece of guest RAM as the host passes it on: where it starts, and its bytes."""

from typing import Final, NamedTuple


class Span(NamedTuple):
    """Physical address and bytes. What has pages instead of bytes is no span."""

    pa: int
    size: int

    @property
    def end(self) -> int:
        """The address behind it."""
        return self.pa + self.size


NO_PAGES: Final = Span(0, 0)
