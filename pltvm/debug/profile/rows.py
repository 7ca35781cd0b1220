"""What a counter gives, whoever counts: rows of numbers, of `who` and `function` by number."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol


class BlockRow(NamedTuple):
    """Code that ran from `pc` on in one piece, `times` times."""

    who: int
    pc: int
    code: bytes
    times: int
    function: int


class NodeRow(NamedTuple):
    """A function as it was called: by the node `parent`, from the call that returns to `site`.

    `own` are the instructions that ran in it, `calls` how often it was entered.
    """

    parent: int
    function: int
    site: int
    own: int
    calls: int


class EdgeRow(NamedTuple):
    """Calls of `callee` by `caller`; pages that went there, and back."""

    caller: int
    callee: int
    calls: int
    pages: int
    back: int


class Counter(Protocol):
    """Counts on a hart."""

    @property
    def lost(self) -> int:
        """Blocks that ran and did not fit."""

    def forget(self) -> None:
        """Others may have the registers now that were met."""

    def blocks(self) -> Iterator[BlockRow]:
        """All code that ran."""

    def nodes(self) -> Iterator[NodeRow]:
        """The tree of calls."""

    def edges(self) -> Iterator[EdgeRow]:
        """Calls from enclave to enclave."""

    def counts(self, who: int) -> tuple[list[int], list[int]]:
        """Traps by cause, and calls by number."""
