"""The result of a profile: how often each enclave or process ran which code, and the tree of calls.

All counts are exact numbers of executed instructions. Those of lines and functions come from blocks; those
that include called functions (`total`) come from the tree of calls.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

from pltvm.debug.profile.rows import BlockRow, EdgeRow, NodeRow
from pltvm.engine.trap import Cause
from pltvm.host.symbols import Symbols
from pltvm.monitor.abi import Call, Ocall

_OCALLS: Final = 128
UNKNOWN: Final = "?"  # the file of code without a line


class Who(NamedTuple):
    """An enclave, with its eid, or a process, with its number."""

    label: str
    kind: str
    number: int
    symbols: Symbols | None
    path: bytes = b""  # of a process: its program


class Function(NamedTuple):
    """A function of `who`. Its code is `moved` bytes from the addresses in `symbols`."""

    who: int
    name: str
    symbols: Symbols | None
    moved: int
    start: int
    file: str = ""


@dataclass(frozen=True, slots=True)
class FunctionRow:
    """A function: own instructions, those with called functions, and the number of entries."""

    who: str
    name: str
    own: int
    total: int
    calls: int


@dataclass(frozen=True, slots=True)
class LineRow:
    """A line of a source file, as recorded by the compiler; "?" and line 0 if unknown."""

    who: str
    file: str
    line: int
    own: int


@dataclass(frozen=True, slots=True)
class WhoRow:
    """An enclave or a process: its instructions, traps by cause, enclave calls and ocalls by name."""

    who: str
    own: int
    traps: dict[str, int]
    calls: dict[str, int]


@dataclass(frozen=True, slots=True)
class EdgeOut:
    """Calls from one enclave to another, with the pages that moved there and back."""

    caller: str
    callee: str
    calls: int
    pages: int
    back: int


class Profile:
    """The counts of a machine."""

    def __init__(
        self,
        whos: tuple[Who, ...],
        functions: tuple[Function, ...],
        blocks: tuple[BlockRow, ...],
        nodes: tuple[NodeRow, ...],
        edges: tuple[EdgeRow, ...],
        counts: tuple[tuple[list[int], list[int]], ...],
        lost: int = 0,
    ) -> None:
        self.whos, self.functions, self.nodes, self.lost = whos, functions, nodes, lost
        self._blocks, self._edges, self._counts = blocks, edges, counts
        self.labels = tuple(self._labels())

    def __repr__(self) -> str:
        return f"<Profile: {self.instructions:,} instructions of {len(self.whos)} programs>"

    def _labels(self) -> Iterator[str]:
        """Yield a unique name for each."""
        times = Counter(who.label for who in self.whos)
        for who in self.whos:
            number = "eid" if who.kind == "enclave" else "pid"
            yield who.label if times[who.label] == 1 else f"{who.label} ({number} {who.number})"

    # -- sums ------------------------------------------------------------------------------------------

    @cached_property
    def at(self) -> dict[tuple[int, int, int], int]:
        """How often each instruction was executed, by function, pc, and size."""
        found: Counter[tuple[int, int, int]] = Counter()
        for block in self._blocks:
            at = 0
            while at + 2 <= len(block.code):
                size = 4 if block.code[at] & 3 == 3 else 2
                found[block.function, block.pc + at, size] += block.times
                at += size
        return dict(sorted(found.items()))

    @property
    def instructions(self) -> int:
        """The number of all executed instructions."""
        return sum(self.at.values())

    @cached_property
    def own(self) -> dict[int, int]:
        """Instructions of each function, without called functions."""
        found: Counter[int] = Counter()
        for (function, _, _), times in self.at.items():
            found[function] += times
        return dict(found)

    @cached_property
    def totals(self) -> list[int]:
        """Instructions of each node of the tree, with all nodes below it."""
        totals = [node.own for node in self.nodes]
        for number in range(len(totals) - 1, 0, -1):
            parent = self.nodes[number].parent
            if parent < number:
                totals[parent] += totals[number]
        return totals

    def _outermost(self) -> Iterator[int]:
        """Yield the nodes without an ancestor of the same function, so that recursion is counted once."""
        above: list[frozenset[int]] = []
        for number, node in enumerate(self.nodes):
            inherited = above[node.parent] if number > 0 and node.parent < number else frozenset()
            if node.function not in inherited:
                yield number
                inherited |= {node.function}
            above.append(inherited)

    # -- tables ----------------------------------------------------------------------------------------

    def by_function(self) -> list[FunctionRow]:
        """Return rows by function, most own instructions first."""
        total: Counter[int] = Counter()
        calls: Counter[int] = Counter()
        for number in self._outermost():
            total[self.nodes[number].function] += self.totals[number]
        for node in self.nodes:
            calls[node.function] += node.calls
        rows = [
            FunctionRow(self.labels[one.who], one.name, own, max(total[number], own), calls[number])
            for number, own in self.own.items()
            for one in (self.functions[number],)
        ]
        return sorted(rows, key=lambda row: (-row.own, row.who, row.name))

    def place(self, function: int, pc: int) -> tuple[str, int]:
        """Return file and line of an instruction."""
        one = self.functions[function]
        found = one.symbols.locate(pc - one.moved) if one.symbols is not None else None
        if found is None or found.file is None or found.line is None:
            return UNKNOWN, 0
        return found.file, found.line

    def by_line(self) -> list[LineRow]:
        """Return rows by line, most instructions first."""
        found: Counter[tuple[str, str, int]] = Counter()
        for (function, pc, _), times in self.at.items():
            found[(self.labels[self.functions[function].who], *self.place(function, pc))] += times
        rows = [LineRow(*key, own) for key, own in found.items()]
        return sorted(rows, key=lambda row: (-row.own, row.who, row.file, row.line))

    def by_inlined(self) -> list[FunctionRow]:
        """Like `by_function`, but inlined code counts for the inlined function, and there is no `total`."""
        found: Counter[tuple[str, str]] = Counter()
        for (function, pc, _), times in self.at.items():
            one = self.functions[function]
            inlined = one.symbols.inlined(pc - one.moved) if one.symbols is not None else []
            name = f"{one_name(inlined[0][0])} (inlined in {one.name})" if inlined else one.name
            found[self.labels[one.who], name] += times
        rows = [FunctionRow(*key, own, own, 0) for key, own in found.items()]
        return sorted(rows, key=lambda row: (-row.own, row.who, row.name))

    def by_enclave(self) -> list[WhoRow]:
        """Return enclaves and processes, most instructions first; also those that only trapped."""
        own: Counter[int] = Counter()
        for function, times in self.own.items():
            own[self.functions[function].who] += times
        rows = []
        for number, label in enumerate(self.labels):
            causes, calls = self._counts[number]
            traps = {_name_of(Cause, cause): times for cause, times in enumerate(causes) if times}
            named = {_call_name(at): times for at, times in enumerate(calls) if times and at != Call.OCALL}
            rows.append(WhoRow(label, own[number], traps, named))
        return sorted(rows, key=lambda row: (-row.own, row.who))

    def edges(self) -> list[EdgeOut]:
        """Return calls between enclaves, most first."""
        rows = [
            EdgeOut(self.labels[one.caller], self.labels[one.callee], one.calls, one.pages, one.back)
            for one in self._edges
        ]
        return sorted(rows, key=lambda row: (-row.calls, row.caller, row.callee))

    def calls(self) -> dict[tuple[int, int, int], tuple[int, int]]:
        """Calls by caller, return address, callee: count, and instructions inside.

        Recursive calls are not counted again inside.
        """
        outermost, found = set(self._outermost()), _pairs()
        for number, node in enumerate(self.nodes):
            if number and node.calls and self.nodes[node.parent].parent:
                row = found[self.nodes[node.parent].function, node.site, node.function]
                row[0] += node.calls
                row[1] += self.totals[number] if number in outermost else 0
        return {key: (row[0], row[1]) for key, row in sorted(found.items())}

    def to_dict(self) -> dict[str, Any]:
        """Return all tables as plain data, for JSON."""
        return {
            "instructions": self.instructions,
            "enclaves": [asdict(row) for row in self.by_enclave()],
            "functions": [asdict(row) for row in self.by_function()],
            "lines": [asdict(row) for row in self.by_line()],
            "edges": [asdict(row) for row in self.edges()],
            "lost": self.lost,
        }


def _pairs() -> defaultdict[tuple[int, int, int], list[int]]:
    return defaultdict(lambda: [0, 0])


def one_name(text: str) -> str:
    """Return a name chosen by the guest, on one line."""
    from pltvm.host.text import one_line

    return one_line(text)


def _name_of(kind: Any, number: int) -> str:
    try:
        return str(kind(number).name).lower()
    except ValueError:
        return str(number)


def _call_name(number: int) -> str:
    if number >= _OCALLS:
        return f"ocall {_name_of(Ocall, number - _OCALLS)}"
    return _name_of(Call, number)
