"""The rows that both counters give: plain numbers, with `who` and `function` by number."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol


class BlockRow(NamedTuple):
    """Code from `pc` on that ran as a unit, `times` times."""

    who: int
    pc: int
    code: bytes
    times: int
    function: int


class NodeRow(NamedTuple):
    """A function with its call path: called by the node `parent`, from the call that returns to `site`.

    `own` is the number of instructions in it, `calls` the number of entries.
    """

    parent: int
    function: int
    site: int
    own: int
    calls: int


class EdgeRow(NamedTuple):
    """Calls of `callee` by `caller`, with the pages that moved there and back."""

    caller: int
    callee: int
    calls: int
    pages: int
    back: int


class Counter(Protocol):
    """Counts on a hart."""

    @property
    def lost(self) -> int:
        """The number of blocks that ran but did not fit."""

    def forget(self) -> None:
        """Forget the owners of registers, as they may have changed."""

    def waited(self, caller: int, callee: int, pages: int) -> None:
        """Count a call that was made when its enclave had waited."""

    def blocks(self) -> Iterator[BlockRow]:
        """Yield all code that ran."""

    def nodes(self) -> Iterator[NodeRow]:
        """Yield the tree of calls."""

    def edges(self) -> Iterator[EdgeRow]:
        """Yield calls between enclaves."""

    def counts(self, who: int) -> tuple[list[int], list[int]]:
        """Return traps by cause, and calls by number."""
